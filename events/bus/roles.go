package bus

import (
	"fmt"
	"regexp"

	"github.com/nats-io/nkeys"
)

// Role is what a NATS credential is for. It says what its holder may do, by allow-lists only.
type Role string

// The roles, from least to most.
const (
	// Verifier reads KEYS and REVOCATIONS and writes nothing. It may say that it has met a kid that is not there
	// ([Conn.ReportUnknownKey]): a hint that is stored nowhere.
	Verifier Role = "verifier"
	// Issuer is a node of the token service: it reads CLIENTS, too, writes its own signing keys and nobody else's, and
	// remembers revocations, assertions and usage. What was used last it may look up.
	Issuer Role = "issuer"
	// Operator writes every record.
	Operator Role = "operator"
	// Admin makes, changes, saves and restores the buckets themselves.
	Admin Role = "admin"
)

// Roles lists all roles.
func Roles() []Role { return []Role{Verifier, Issuer, Operator, Admin} }

// Permissions are the subjects on which a credential may publish and to which it may subscribe. Everything else is
// refused.
type Permissions struct {
	Publish   []string
	Subscribe []string
}

// sharedInbox is the inbox prefix of clients that do not set one, such as the nats command.
const sharedInbox = "_INBOX"

// InboxPrefix is the private inbox prefix of a credential, made from its public nkey so that a client need not be told.
// The nats command takes it as --inbox-prefix.
func InboxPrefix(publicNkey string) string { return sharedInbox + "_" + publicNkey }

var userNkey = regexp.MustCompile(`^U[A-Z2-7]{55}$`)

// IsUserNkey reports whether text is the public nkey of a user, in the one text that it has: nkeys are compared as texts, and what reads them
// skips line breaks.
func IsUserNkey(text string) bool {
	return userNkey.MatchString(text) && nkeys.IsValidPublicUserKey(text)
}

var userName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// IsUserName reports whether text may be the name of a user: it is in configurations, and in names of files.
func IsUserName(text string) bool { return userName.MatchString(text) }

// Permissions is what role r may do, inbox being the credential's [InboxPrefix]. Both lists are empty for a role that does
// not exist, and never otherwise: a NATS server takes an empty list for leave to do everything.
//
// Operators and admins may use the shared _INBOX as well, so that they can work with the plain nats command; they can
// read each other's answers there, and nobody else can.
//
// What is left over: who may create a consumer may aim it at any subject of the account, so a verifier could send
// copies of the public records where it may not publish. The buckets need a NATS account of their own. And the holders
// of one credential share its inbox: one of them can hear the name of another's consumer and change it, so that some messages, or all
// values, are kept from the other. A feed finds out when nothing more comes, not when less comes. Services
// that do not trust each other need a credential each.
func (r Role) Permissions(inbox string) Permissions {
	p := Permissions{Subscribe: []string{inbox + ".>"}}
	switch r {
	case Verifier:
		p.Publish = append(follow(Keys, Revocations), unknownKeySubjects)
	case Issuer:
		p.Publish = append(append(follow(Keys, Revocations, Clients), read(Usage)...),
			Keys.Subject("key.platform.>"),
			Revocations.Filter(),
			Assertions.Filter(),
			Usage.Filter(),
			unknownKeySubjects,
		)
	case Operator:
		p.Publish = append(operate(), unknownKeySubjects)
		p.Subscribe = append(p.Subscribe, sharedInbox+".>", unknownKeySubjects)
	case Admin:
		p.Publish = append(append(operate(), administer()...), unknownKeySubjects)
		p.Subscribe = append(p.Subscribe, sharedInbox+".>", unknownKeySubjects)
	default:
		return Permissions{}
	}
	return p
}

// unknownKeySubjects are where anybody may say that an external issuer uses a kid which is not in KEYS. To publish there
// is not to write: nothing keeps the message, no set is made of it, and whoever hears it believes nothing, but looks at the
// issuer's own published keys a little earlier, and no more often than it has decided itself. Only operators and admins hear it.
const unknownKeySubjects = unknownKeyPrefix + "*"

// follow is what it takes to bind to a bucket, to watch it and to read from it.
func follow(buckets ...Bucket) []string {
	var subjects []string
	for _, b := range buckets {
		s := b.Stream()
		subjects = append(subjects,
			"$JS.API.STREAM.INFO."+s,
			// The form with name and filter: the server holds the request's body to both.
			fmt.Sprintf("$JS.API.CONSUMER.CREATE.%s.*.%s", s, b.Filter()),
			// Flow control answers, in the form of today and in the one with domain and account.
			fmt.Sprintf("$JS.FC.%s.>", s),
			fmt.Sprintf("$JS.FC.*.*.%s.>", s),
			fmt.Sprintf("$JS.API.DIRECT.GET.%s.%s", s, b.Filter()),
		)
	}
	return subjects
}

// read is what it takes to read single records of a bucket.
func read(b Bucket) []string {
	return []string{"$JS.API.STREAM.INFO." + b.Stream(), fmt.Sprintf("$JS.API.DIRECT.GET.%s.%s", b.Stream(), b.Filter())}
}

// operate is what it takes to write all buckets, and to use the nats command's kv commands on them: history and ls
// delete the consumers that they made, get --revision needs the direct get without a subject.
func operate() []string {
	subjects := []string{"$JS.FC.>"}
	for _, b := range Buckets() {
		s := b.Stream()
		subjects = append(subjects,
			b.Filter(),
			"$JS.API.STREAM.INFO."+s,
			fmt.Sprintf("$JS.API.CONSUMER.CREATE.%s.>", s),
			fmt.Sprintf("$JS.API.CONSUMER.DELETE.%s.*", s),
			"$JS.API.DIRECT.GET."+s,
			fmt.Sprintf("$JS.API.DIRECT.GET.%s.>", s),
		)
	}
	return subjects
}

// administer is what it takes to make the buckets, to change them, and to save and restore them. Of purge and
// delete-message the streams' own settings leave nothing; they are here for the streams of a later format.
func administer() []string {
	var subjects []string
	for _, b := range Buckets() {
		s := b.Stream()
		subjects = append(subjects,
			"$JS.API.STREAM.CREATE."+s,
			"$JS.API.STREAM.UPDATE."+s,
			"$JS.API.STREAM.PURGE."+s,
			"$JS.API.STREAM.MSG.DELETE."+s,
			"$JS.API.STREAM.DELETE."+s,
			"$JS.API.STREAM.SNAPSHOT."+s,
			fmt.Sprintf("$JS.SNAPSHOT.ACK.%s.>", s),
			"$JS.API.STREAM.RESTORE."+s,
			fmt.Sprintf("$JS.SNAPSHOT.RESTORE.%s.>", s),
		)
	}
	return subjects
}

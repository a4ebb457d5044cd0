package bus

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyherald/keyherald/events"
)

// Verb is what a call does to its subject.
type Verb string

// The verbs.
const (
	Publish   Verb = "publish to"
	Subscribe Verb = "subscribe to"
)

// Call is something that a credential may do, or may not.
type Call struct {
	Verb    Verb
	Subject string
}

func (c Call) String() string { return string(c.Verb) + " " + c.Subject }

// probe is the name in the calls of what does not exist: a client, a consumer, an inbox.
const probe = "keyherald-doctor"

// Calls are the calls that tell the roles apart: of each kind one, on names that nobody has, and whatever else a bucket's stream can be
// asked to do; and the same on the names of records that there are, and on those next to them: who may write one key of one issuer is
// refused all the others. Inboxes are the prefixes of other credentials, of which nobody but their holder may hear anything.
func Calls(inboxes []string, records ...events.RecordName) []Call {
	publish := []string{
		"$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.CREATE." + probe,
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ",
		sharedInbox + "." + probe, probe, "keyherald." + probe, unknownKeyPrefix + probe + "." + probe,
	}
	subscribe := []string{">", "*", "*.>", "$KV.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$JS.EVENT.>", "$SYS.>", sharedInbox + ".>", "keyherald.>", unknownKeySubjects,
		Keys.Subject("issuer.>"), Keys.Subject("key.>"), Keys.Subject("revoked.>")}
	for _, b := range Buckets() {
		publish = append(publish, b.calls()...)
		subscribe = append(subscribe, b.Filter())
		for _, name := range b.names(records) {
			publish = append(publish, b.Subject(name))
			subscribe = append(subscribe, b.Subject(name))
			if b == Clients { // the others tell nothing that must not be known
				publish = append(publish, b.reads(name)...)
			}
		}
	}
	for _, inbox := range append(slices.Clone(inboxes), InboxPrefix(probe)) {
		publish = append(publish, inbox+"."+probe)
		subscribe = append(subscribe, inbox+".>")
	}
	var calls []Call
	for _, s := range publish {
		calls = append(calls, Call{Publish, s})
	}
	for _, s := range subscribe {
		calls = append(calls, Call{Subscribe, s})
	}
	return distinct(calls)
}

// distinct leaves out what comes a second time, such as what is tried of every issuer and of the platform.
func distinct[T comparable](all []T) []T {
	seen := map[T]bool{}
	return slices.DeleteFunc(all, func(x T) bool {
		again := seen[x]
		seen[x] = true
		return again
	})
}

// calls are the subjects on which the bucket's stream is asked to do something.
func (b Bucket) calls() []string {
	s := b.Stream()
	subjects := []string{
		"$JS.API.CONSUMER.CREATE." + s, // the old form, whose body alone says what it is about
		fmt.Sprintf("$JS.API.CONSUMER.CREATE.%s.%s", s, probe),
		fmt.Sprintf("$JS.API.CONSUMER.CREATE.%s.%s.%s", s, probe, b.Filter()),
		"$JS.API.DIRECT.GET." + s,
		fmt.Sprintf("$JS.ACK.%s.%s.1.1.1.1.0", s, probe),
		fmt.Sprintf("$JS.FC.%s.%s.%s", s, probe, probe),
		fmt.Sprintf("$JS.SNAPSHOT.ACK.%s.%s", s, probe),
		fmt.Sprintf("$JS.SNAPSHOT.RESTORE.%s.%s", s, probe),
	}
	subjects = append(subjects, b.reads(probe)...)
	for _, request := range []string{
		"STREAM.INFO", "STREAM.CREATE", "STREAM.UPDATE", "STREAM.PURGE", "STREAM.DELETE", "STREAM.SNAPSHOT", "STREAM.RESTORE",
		"STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.PEER.REMOVE", "STREAM.LEADER.STEPDOWN", "CONSUMER.NAMES", "CONSUMER.LIST",
	} {
		subjects = append(subjects, "$JS.API."+request+"."+s)
	}
	for _, request := range []string{"INFO", "DELETE", "PAUSE", "UNPIN", "DURABLE.CREATE", "MSG.NEXT", "LEADER.STEPDOWN"} {
		subjects = append(subjects, fmt.Sprintf("$JS.API.CONSUMER.%s.%s.%s", request, s, probe))
	}
	return subjects
}

// reads are the subjects on which one record is read.
func (b Bucket) reads(name string) []string {
	s, subject := b.Stream(), b.Subject(name)
	return []string{fmt.Sprintf("$JS.API.DIRECT.GET.%s.%s", s, subject), fmt.Sprintf("$JS.API.CONSUMER.CREATE.%s.%s.%s", s, probe, subject)}
}

// names are those of records that nobody has, one of each kind, and the platform's; and those of the records given, and next to them.
func (b Bucket) names(records []events.RecordName) (names []string) {
	switch b {
	case Keys:
		names = []string{"issuer.platform", "issuer." + probe, "key.platform." + probe, "key." + probe + ".k1", "revoked.platform." + probe, "revoked." + probe + ".k1"}
	case Revocations:
		names = []string{"jti." + probe, "tok." + probe}
	case Usage:
		names = []string{"secret." + probe + ".s1"}
	default:
		names = []string{probe}
	}
	for _, r := range records {
		switch b {
		case Keys:
			for _, n := range []events.RecordName{events.IssuerRecord(r.Issuer), events.KeyRecord(r.Issuer, probe), events.RevokedRecord(r.Issuer, probe)} {
				names = append(names, n.String())
			}
			if r.KeyID != "" {
				names = append(names, events.KeyRecord(r.Issuer, r.KeyID).String(), events.RevokedRecord(r.Issuer, r.KeyID).String())
			}
		case Clients:
			names = append(names, string(r.Issuer))
		case Usage:
			names = append(names, events.UsageRecord(events.UsedSecret, r.Issuer, "s1"))
		}
	}
	return distinct(names)
}

// May reports whether the permissions allow a call. What they do not must be refused.
func (p Permissions) May(c Call) bool {
	list := p.Publish
	if c.Verb == Subscribe {
		list = p.Subscribe
	}
	return slices.ContainsFunc(list, func(allowed string) bool { return covers(allowed, c.Subject) })
}

// covers reports whether a subject, which may have wildcards, too, is among those that allowed stands for.
func covers(allowed, subject string) bool {
	want, have := strings.Split(allowed, "."), strings.Split(subject, ".")
	for i, token := range want {
		switch {
		case token == ">":
			return len(have) > i
		case i == len(have) || have[i] == ">":
			return false
		case token != "*" && token != have[i]:
			return false
		}
	}
	return len(have) == len(want)
}

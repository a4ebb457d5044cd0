package registry

import (
	"regexp"

	"github.com/keyherald/keyherald/events"
)

// A client's name is the sub and client_id of its tokens, where it stands in one name space with the users of other
// issuers: a service that looks at sub alone must not take a client for a user (RFC 9068 §5, RFC 9700 §4.15).
var (
	// reservedName matches names that look like something else: the platform, an account, an API key, or the ids that
	// are usual for users (user_…, all digits, a UUID).
	reservedName = regexp.MustCompile(`(?i)^(platform|[0-9]+|(user|usr|acc|khs)[_-].*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
	// authressName matches the client ids of Authress, whose SDKs mint tokens that live for a day.
	authressName = regexp.MustCompile(`^(sc|ext|scauth|authress)_[a-zA-Z0-9]{5,30}$`)
)

// generatedName is a name that secret scanners know as the beginning of an access key: sc_ and 131 random bits.
func generatedName() events.Name {
	return events.Name("sc_" + randomText(22, alphanumeric))
}

func checkClientName(name events.Name) error {
	if err := checkName(name); err != nil {
		return err
	}
	if reservedName.MatchString(string(name)) {
		return refuse(ErrInvalid, "a client cannot be named %s: it could be taken for the platform, an account, an API key or a user: choose a name like orders, or none to have one made", name)
	}
	return nil
}

package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyherald/keyherald/events/strictjson"
)

// Federated says that whoever has an assertion of an external issuer for a subject and an audience is the client: workload
// identity federation. The issuer's record must have the use [UseAssertion].
type Federated struct {
	Issuer   Name   // issuer: the name of the external issuer's record
	Subject  string // sub: exact, or what it begins with and a * at the end
	Audience string // aud: the one that the assertion must be for, byte by byte
	Extra    Extra
}

func parseFederated(data []byte) (Federated, error) {
	var m members
	var f Federated
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		switch string(name) {
		case "issuer":
			var s string
			if s, err = strictjson.String(value); err == nil {
				f.Issuer, err = ParseName(s)
			}
		case "sub":
			f.Subject, err = strictjson.String(value)
		case "aud":
			f.Audience, err = strictjson.String(value)
		default:
			return false, nil
		}
		return true, err
	})
	f.Extra = m.extra
	return f, err
}

func validateFederated(list []Federated) error {
	if len(list) > MaxSecrets {
		return fmt.Errorf("more than %d federated identities", MaxSecrets)
	}
	for i, f := range list {
		if err := f.Validate(); err != nil {
			return fmt.Errorf("federated identity %d: %w", i+1, err)
		}
		if slices.ContainsFunc(list[:i], f.Same) {
			return fmt.Errorf("federated identity %d is there twice", i+1)
		}
	}
	return nil
}

// Validate checks the identity. It is applied to what is read and to what is about to be written.
func (f Federated) Validate() error {
	if _, err := ParseName(string(f.Issuer)); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	for _, s := range []struct{ name, value string }{{"sub", f.Subject}, {"aud", f.Audience}} {
		if s.value == "" || len(s.value) > MaxURI || !isText(s.value) {
			return fmt.Errorf("%s is not text of 1 to %d bytes without control characters", s.name, MaxURI)
		}
	}
	prefix, _ := strings.CutSuffix(f.Subject, "*")
	if prefix == "" {
		return errors.New("sub * would be everybody whom the issuer knows: put what they have in common before the *")
	}
	if strings.Contains(prefix, "*") {
		return errors.New("sub has a * that is not at its end: there it would stand for itself, and no subject has one")
	}
	return nil
}

// Same reports whether both say the same, whatever else newer versions have put into them.
func (f Federated) Same(other Federated) bool {
	return f.Issuer == other.Issuer && f.Subject == other.Subject && f.Audience == other.Audience
}

// Matches reports whether the subject of an assertion is one that the record names. Issuer and audience are for the caller to compare.
func (f Federated) Matches(subject string) bool {
	if prefix, ok := strings.CutSuffix(f.Subject, "*"); ok {
		return strings.HasPrefix(subject, prefix)
	}
	return subject == f.Subject
}

func (f Federated) encode() []byte {
	var b builder
	b.str("issuer", string(f.Issuer))
	b.str("sub", f.Subject)
	b.str("aud", f.Audience)
	b.extra(f.Extra)
	return b.object()
}

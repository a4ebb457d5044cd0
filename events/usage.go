package events

// UsageKind is which kind of credential a record of USAGE is about.
type UsageKind string

// The kinds of credentials.
const (
	UsedSecret      UsageKind = "secret"      // an API key, by its id
	UsedKey         UsageKind = "key"         // a key, by its kid
	UsedCertificate UsageKind = "certificate" // by the base64url SHA-256 of its DER, if that is registered
)

// UsageRecord is the name of a record of USAGE: <kind>.<client>.<credential>, or <kind>.<client>.b64.<x> for a credential outside of the
// alphabet of names, as in KEYS.
func UsageRecord(kind UsageKind, client Name, credential string) string {
	return string(kind) + "." + string(client) + "." + KeyID(credential).part()
}

// Usage is a record of USAGE: when a credential was last used, to the hour or so. It is information: nothing is decided by it.
type Usage struct {
	At    int64 // at, NumericDate
	Extra Extra
}

// ParseUsage reads and validates a record of USAGE.
func ParseUsage(data []byte) (*Usage, error) {
	var m members
	u := new(Usage)
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		if string(name) != "at" {
			return false, nil
		}
		u.At, err = timestamp(value)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	u.Extra = m.extra
	return u, u.validate()
}

func (u *Usage) validate() error { return checkTimes(u.At) }

// Encode validates the record and returns its JSON text.
func (u *Usage) Encode() ([]byte, error) {
	if err := u.validate(); err != nil {
		return nil, err
	}
	var b builder
	b.int("at", u.At)
	b.extra(u.Extra)
	out := b.object()
	back, err := ParseUsage(out)
	if err == nil {
		err = sameExtra(u.Extra, back.Extra)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

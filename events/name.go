package events

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Platform is the name of the one issuer record of type platform.
const Platform Name = "platform"

// Name is an issuer's name: 1 to 64 of A-Z a-z 0-9 _ and -, case-sensitive. Make one with [ParseName].
type Name string

// ParseName checks that s is an issuer's name.
func ParseName(s string) (Name, error) {
	if !plain(s, MaxName) {
		return "", fmt.Errorf("name %s is not 1 to %d of A-Z a-z 0-9 _ -", quote(s), MaxName)
	}
	return Name(s), nil
}

func (n Name) String() string { return string(n) }

// KeyID is a key's kid. Our own are 1 to 128 characters of the alphabet of [Name]; those of external issuers may be any
// text without control characters, up to 256 bytes. A kid means something only together with its issuer.
type KeyID string

// ParseKeyID checks that s can be a kid.
func ParseKeyID(s string) (KeyID, error) {
	if plain(s, MaxKeyID) {
		return KeyID(s), nil
	}
	if s == "" || len(s) > MaxForeignKeyID || !isText(s) {
		return "", fmt.Errorf("kid %s is not text of 1 to %d bytes without control characters", quote(s), MaxForeignKeyID)
	}
	return KeyID(s), nil
}

func (k KeyID) String() string { return string(k) }

// Plain reports whether k is of the alphabet that stands in a record's name as it is.
func (k KeyID) Plain() bool { return plain(string(k), MaxKeyID) }

// Kind says which of the records of KEYS a name names.
type Kind uint8

// The kinds of records in KEYS.
const (
	KindIssuer  Kind = iota + 1 // issuer.<name>
	KindKey                     // key.<name>.<kid>
	KindRevoked                 // revoked.<name>.<kid>
)

func (k Kind) String() string {
	switch k {
	case KindIssuer:
		return "issuer"
	case KindKey:
		return "key"
	case KindRevoked:
		return "revoked"
	}
	return "unknown"
}

// RecordName is the name of a record in KEYS. KeyID is empty for an issuer.
type RecordName struct {
	Kind   Kind
	Issuer Name
	KeyID  KeyID
}

// IssuerRecord names the record of an issuer.
func IssuerRecord(issuer Name) RecordName { return RecordName{Kind: KindIssuer, Issuer: issuer} }

// KeyRecord names the record of a key.
func KeyRecord(issuer Name, kid KeyID) RecordName { return RecordName{KindKey, issuer, kid} }

// RevokedRecord names the record whose existence revokes a key for ever.
func RevokedRecord(issuer Name, kid KeyID) RecordName { return RecordName{KindRevoked, issuer, kid} }

// String is the name as it stands in the bucket.
func (r RecordName) String() string {
	s := r.Kind.String() + "." + string(r.Issuer)
	if r.Kind == KindIssuer {
		return s
	}
	return s + "." + r.KeyID.part()
}

// part is the kid as it stands in a name; see parseKeyPart.
func (k KeyID) part() string {
	if k.Plain() {
		return string(k)
	}
	return "b64." + base64.RawURLEncoding.EncodeToString([]byte(k))
}

// compare orders names: by kind, then by issuer, then by kid.
func (r RecordName) compare(other RecordName) int {
	return cmp.Or(cmp.Compare(r.Kind, other.Kind), cmp.Compare(r.Issuer, other.Issuer), cmp.Compare(r.KeyID, other.KeyID))
}

var errRecordName = errors.New("not a name of KEYS: issuer.<name>, key.<name>.<kid> or revoked.<name>.<kid>")

// ParseRecordName reads a name in KEYS. There is exactly one name for a record: the b64 form of a kid that has a plain
// one is refused.
func ParseRecordName(s string) (RecordName, error) {
	kind, rest, _ := strings.Cut(s, ".")
	issuer, rest, hasKey := strings.Cut(rest, ".")
	var r RecordName
	switch kind {
	case "issuer":
		r.Kind = KindIssuer
	case "key":
		r.Kind = KindKey
	case "revoked":
		r.Kind = KindRevoked
	default:
		return RecordName{}, errRecordName
	}
	if hasKey == (r.Kind == KindIssuer) {
		return RecordName{}, errRecordName
	}
	var err error
	if r.Issuer, err = ParseName(issuer); err == nil && hasKey {
		r.KeyID, err = parseKeyPart(rest)
	}
	if err != nil {
		return RecordName{}, err
	}
	return r, nil
}

// parseKeyPart reads what follows the issuer in a name: <kid> or b64.<x>.
func parseKeyPart(s string) (KeyID, error) {
	encoded, isForeign := strings.CutPrefix(s, "b64.")
	if !isForeign {
		if !plain(s, MaxKeyID) {
			return "", fmt.Errorf("kid %s is not 1 to %d of A-Z a-z 0-9 _ - (use b64.<base64url of the kid> for any other)", quote(s), MaxKeyID)
		}
		return KeyID(s), nil
	}
	raw, err := decodeBase64(encoded)
	if err != nil {
		return "", errors.New("kid after b64 is not unpadded base64url")
	}
	kid, err := ParseKeyID(string(raw))
	if err != nil {
		return "", err
	}
	if kid.Plain() {
		return "", fmt.Errorf("kid after b64 has a plain name: use %s itself", quote(string(kid)))
	}
	return kid, nil
}

// plain reports whether s is 1 to limit characters of the alphabet of names.
func plain(s string, limit int) bool {
	if len(s) == 0 || len(s) > limit {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// isText reports whether s is UTF-8 without control characters: it can be shown in a line of a log or a terminal, and
// JSON carries it unchanged.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// quote shows a piece of foreign text in an error: escaped and cut.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%.*q… (%d bytes)", most, s, len(s))
	}
	return fmt.Sprintf("%q", s)
}

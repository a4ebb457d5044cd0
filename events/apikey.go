package events

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"
)

// APIKey is a client secret in the form in which it is handed to a service:
//
//	khs_<client>_<secret>_<checksum>
//
// where secret is 256 random bits as a number of 43 base62 digits (0-9 a-z A-Z), and checksum the CRC-32 (IEEE) of everything
// before it, as a number of 6 base62 digits. The prefix and the checksum are for secret scanners and for typing errors: neither adds
// to, nor takes from, the strength of the secret. It never goes to a bucket, where only its [APIKey.Hash] is kept, and it
// prints as its public part only; [APIKey.Reveal] gives the text.
type APIKey struct {
	Client Name
	text   string
	_      [0]func() // not comparable: an API key is compared by its hash, in constant time
}

const (
	apiKeyPrefix   = "khs_"
	apiKeyBits     = 256
	apiKeySecret   = 43 // base62 digits; 62^42 < 2^256 < 62^43
	apiKeyChecksum = 6  // base62 digits; 62^5 < 2^32 < 62^6
	apiKeyTail     = 1 + apiKeySecret + 1 + apiKeyChecksum

	base62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" // the digits of big.Int.Text
)

// NewAPIKey makes a random API key for a client.
func NewAPIKey(client Name) APIKey {
	var bits [apiKeyBits / 8]byte
	_, _ = rand.Read(bits[:]) // never fails
	text := apiKeyPrefix + string(client) + "_" + base62Digits(new(big.Int).SetBytes(bits[:]), apiKeySecret) + "_"
	sum := checksum(text)
	return APIKey{Client: client, text: text + string(sum[:])}
}

// All that is said of a text that is none: a part of it may be secret.
var (
	errAPIKey         = errors.New("not an API key of the form khs_client_secret_checksum, as printed once by secret add")
	errAPIKeyChecksum = errors.New("an API key with a wrong checksum: it was cut off or mistyped")
)

// ParseAPIKey reads the text form. It is read from its end, because the name of a client may have a _ in it. An API key that parses
// need not be one that a client has.
func ParseAPIKey(text string) (APIKey, error) {
	rest, ok := strings.CutPrefix(text, apiKeyPrefix)
	if !ok || len(rest) <= apiKeyTail {
		return APIKey{}, errAPIKey
	}
	client, tail := rest[:len(rest)-apiKeyTail], rest[len(rest)-apiKeyTail:]
	name, err := ParseName(client)
	secret, sum := tail[1:1+apiKeySecret], tail[2+apiKeySecret:]
	if err != nil || tail[0] != '_' || tail[1+apiKeySecret] != '_' || !isBase62(secret) || !isBase62(sum) {
		return APIKey{}, errAPIKey
	}
	if want := checksum(text[:len(text)-apiKeyChecksum]); string(want[:]) != sum {
		return APIKey{}, errAPIKeyChecksum
	}
	return APIKey{Client: name, text: text}, nil
}

func checksum(text string) (digits [apiKeyChecksum]byte) {
	n := crc32.ChecksumIEEE([]byte(text))
	for i := range digits {
		digits[apiKeyChecksum-1-i] = base62[n%62]
		n /= 62
	}
	return digits
}

// isBase62 reports whether s has no other characters than base62's.
func isBase62(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// base62Digits writes n with the given number of digits. Every number has one text, so that nothing of what is random gets lost.
func base62Digits(n *big.Int, digits int) string {
	text := n.Text(len(base62))
	return strings.Repeat("0", digits-len(text)) + text
}

// Reveal returns the text form, the secret included.
func (k APIKey) Reveal() string { return k.text }

// Hash is what is kept of an API key, as [Secret.SHA256]: the SHA-256 of its text. A slow hash is for passwords, which can
// be guessed; 256 random bits cannot.
func (k APIKey) Hash() [sha256.Size]byte { return sha256.Sum256([]byte(k.text)) }

// String is the public part: it is safe to log.
func (k APIKey) String() string { return apiKeyPrefix + string(k.Client) + "_(secret)" }

// Format prints String, whatever the verb.
func (k APIKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText refuses: an API key does not get into JSON or a log by accident.
func (k APIKey) MarshalText() ([]byte, error) {
	return nil, errors.New("an API key is not for encoding")
}

package eventstest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
)

// Describe writes down what a key set says, one record a line, so that two sets can be compared. Lost revocations are in it as
// revocations, not as what is reported about them.
func Describe(t testing.TB, s *events.Set) string {
	t.Helper()
	var lines []string
	for e := range s.Issuers() {
		text, err := e.Record.Encode()
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		lines = append(lines, fmt.Sprintf("%s at %d: %s", events.IssuerRecord(e.Name), e.Revision, text))
	}
	for e := range s.AllKeys() {
		line := fmt.Sprintf("%s at %d", events.KeyRecord(e.Issuer, e.KeyID), e.Revision)
		if e.Record != nil {
			text, err := e.Record.Encode(e.KeyID)
			if err != nil {
				t.Fatalf("%s: %v", e.KeyID, err)
			}
			line += fmt.Sprintf(": %s", text)
		}
		if e.RevokedBy != 0 {
			line += fmt.Sprintf(", revoked by %d: %+v", e.RevokedBy, *e.Reason)
		}
		lines = append(lines, line)
	}
	for _, r := range s.Rejected() {
		if !strings.HasPrefix(r.Name, events.KindRevoked.String()+".") {
			lines = append(lines, fmt.Sprintf("%s rejected at %d: %s", r.Name, r.Revision, r.Reason))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// KeyJSON is the record of a public key that is made of n: the same for the same n. Members, such as "exp":1, are added.
func KeyJSON(n byte, members ...string) string {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	x := base64.RawURLEncoding.EncodeToString(key)
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s"%s}`, x, strings.Join(append([]string{""}, members...), ","))
}

package issuer

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// How long a client's tokens may live can be changed at any time; how long any token may live cannot.
func TestI18_ATokenThatLivesTooLongNowCanBeRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		revoked, kept := p.offline(2*time.Hour, false), p.offline(2*time.Hour, false)
		longest := p.offline(events.MaxTokenTTL, false)
		now := time.Now().Unix()
		tooLong := sign(t, jws.Header{Algorithm: jws.EdDSA, KeyID: "k1", Type: typeAccessToken}, map[string]any{
			"iss": events.ClientURL(testIssuer, "orders"), "sub": "orders", "client_id": "orders", "aud": "https://billing", "jti": "j1", "iat": now,
			"exp": now + int64((events.MaxTokenTTL+events.MaxLeeway)/time.Second) + 1,
		}, p.private)
		for what, token := range map[string]string{"two hours": revoked, "a day": longest, "more than a day": tooLong} {
			if p.verifies(token) {
				t.Fatalf("a token of %s is accepted, with a record that allows one", what)
			}
		}
		if status := p.revokeBy("orders", revoked); status != http.StatusOK || p.bucket.revocations != 1 {
			t.Errorf("by its client: status %d, %d revocations", status, p.bucket.revocations)
		}
		if status := p.revokeBy("billing", longest); status != http.StatusOK || p.bucket.revocations != 2 {
			t.Errorf("by its audience: status %d, %d revocations", status, p.bucket.revocations)
		}
		if status := p.revokeBy("orders", tooLong); status != http.StatusOK || p.bucket.revocations != 2 {
			t.Errorf("one that no record can allow: status %d, %d revocations", status, p.bucket.revocations)
		}
		p.bucket.put("issuer.orders", strings.Replace(ordersJSON, `"offline":true`, `"offline":true,"max_token_ttl":86400`, 1))
		for what, c := range map[string]struct {
			token string
			want  bool
		}{"revoked": {revoked, false}, "revoked, of a day": {longest, false}, "not revoked": {kept, true}, "too long for any record": {tooLong, false}} {
			if got := p.verifies(c.token); got != c.want {
				t.Errorf("%s: accepted with a wider record: %v", what, got)
			}
		}
	})
}

package issuer

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

func TestEveryDecisionIsOneLineInTheAuditLogWithoutSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		token := f.token(f.withKey())
		parsed, err := jws.Parse(token.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		wrong := events.NewAPIKey("orders").Reveal()
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		read, err := jws.Parse(assertion)
		if err != nil {
			t.Fatal(err)
		}
		assertionID := read.Claims.ID
		f.token(tokenRequestWith("grant_type", "client_credentials", "client_secret", wrong))
		f.token(f.withKey("scope", "admin"))
		f.token(withAssertion(assertion, "client_id", "closed"))
		f.token(tokenRequestWith("grant_type", "client_credentials", "client_id", "\n{\"level\":\"error\"}"))

		issued := linesOf(t, f.log, "token issued")
		if len(issued) != 1 {
			t.Fatalf("%d lines for one token: %s", len(issued), f.log)
		}
		for field, want := range map[string]any{"client": "orders", "method": "client_secret_post", "credential": "s1", "kid": string(f.kid()),
			"jti": parsed.Claims.ID, "address": "192.0.2.1"} {
			if issued[0][field] != want {
				t.Errorf("%s is %v, want %v", field, issued[0][field], want)
			}
		}
		refusals := linesOf(t, f.log, "token refused")
		want := []map[string]any{
			{"error": "invalid_client", "claimed_client": "orders", "reason": "unknown or expired API key", "method": "client_secret_post"},
			{"error": "invalid_scope", "client": "orders"},
			{"error": "invalid_client", "claimed_client": "orders", "method": "private_key_jwt", "kid": "k1", "jti": assertionID},
			{"error": "invalid_client", "claimed_client": ""},
		}
		if len(refusals) != len(want) {
			t.Fatalf("%d lines for %d refusals: %s", len(refusals), len(want), f.log)
		}
		for i, fields := range want {
			fields["address"] = "192.0.2.1"
			for field, value := range fields {
				if refusals[i][field] != value {
					t.Errorf("refusal %d: %s is %v, want %v", i, field, refusals[i][field], value)
				}
			}
		}
		for name, secret := range map[string]string{"API key": f.apiKey.Reveal(), "wrong API key": wrong, "token": token.AccessToken, "assertion": assertion} {
			if strings.Contains(f.log.String(), secret) || strings.Contains(f.log.String(), secret[len(secret)-20:]) {
				t.Errorf("the log has the %s", name)
			}
		}
	})
}

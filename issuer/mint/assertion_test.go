package mint

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/verifier/jws"
)

func TestI7_TheAssertionOfAGrantIsNoClientAssertion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := goldenMinter(t)
		seen := map[string]bool{}
		for audience, want := range map[string]string{"": goldenIssuer, goldenIssuer + "/oauth/token": goldenIssuer + "/oauth/token"} {
			text, err := m.GrantAssertion(audience)
			if err != nil {
				t.Fatal(err)
			}
			token, err := jws.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c := token.Claims
			if token.Header.Type != "JWT" || c.Issuer != "sc_aAKceYi7VJDCU8vB7HcTo3Q" || c.Subject != c.Issuer || !slices.Equal(c.Audience, []string{want}) {
				t.Errorf("header %+v, claims %+v", token.Header, c)
			}
			if c.IssuedAt != time.Now().Unix() || c.Expiry != c.IssuedAt+60 || len(c.ID) < 22 || seen[c.ID] {
				t.Errorf("iat %d, exp %d, jti %s", c.IssuedAt, c.Expiry, c.ID)
			}
			seen[c.ID] = true
		}
	})
}

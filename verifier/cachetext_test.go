package verifier_test

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/keyherald/keyherald/verifier"
)

// A caller may hand in a string over bytes that it uses again, as some HTTP servers do. What is remembered must not change with it.
func TestTheCacheKeepsNothingOfTheCallersText(t *testing.T) {
	v := installation(t).verifier()
	good := online(t, onlineClaims)
	buffer := []byte(good)
	result, err := v.Verify(unsafe.String(&buffer[0], len(buffer)))
	if err != nil {
		t.Fatal(err)
	}
	copy(buffer, strings.Repeat("A", len(buffer)))
	if _, err := v.Verify(string(buffer)); err == nil {
		t.Fatal("what the buffer holds now is accepted")
	}
	if again := expect(t, v, good, accepted); !sameToken(again, result) || !strings.Contains(string(result.Claims()), platformURL) {
		t.Errorf("the result has changed with the caller's buffer: %+v", result)
	}
}

// The audience is the caller's text, too.
func TestTheCacheKeepsNothingOfTheCallersAudience(t *testing.T) {
	v := installation(t).verifier()
	token := offline(t, offlineClaims.with("aud", `"`+reports+`"`))
	buffer := []byte(reports)
	request := verifier.Request{Audience: unsafe.String(&buffer[0], len(buffer))}
	if _, err := v.VerifyRequest(token, request); err != nil {
		t.Fatal(err)
	}
	copy(buffer, billing[:len(reports)])
	for range 2 {
		if _, err := v.VerifyRequest(token, request); reasonOf(err) != verifier.ReasonAudience {
			t.Errorf("a token for %s is good for %s: %v", reports, request.Audience, err)
		}
	}
}

// Who has the same Token must not get into each other's way when they add to its lists.
func TestWhatIsAddedToAResultsListsIsNotShared(t *testing.T) {
	v := installation(t).verifier()
	one, two := expect(t, v, offline(t, offlineClaims), accepted), expect(t, v, offline(t, offlineClaims), accepted)
	a, b := append(one.Audience, "one"), append(two.Audience, "two")
	c, d := append(one.Scope.Values(), "one"), append(two.Scope.Values(), "two")
	if one != two || a[1] != "one" || b[1] != "two" || c[1] != "one" || d[1] != "two" {
		t.Errorf("%q and %q, %q and %q", a, b, c, d)
	}
}

// The buffers in which tokens are read are used again, and results must not change with them.
func TestResultsDoNotChangeWhenOtherTokensAreVerified(t *testing.T) {
	for name, change := range map[string]func(*verifier.Config){"with the cache": func(*verifier.Config) {}, "without": withoutCache} {
		t.Run(name, func(t *testing.T) {
			v := installation(t).verifier(change)
			tokens := []string{
				online(t, onlineClaims), offline(t, offlineClaims.with("jti", `"some"`)), external(t, externalClaims),
				offline(t, offlineClaims.with("aud", `["`+billing+`","`+reports+`"]`).with("scope", `"billing:write x"`)),
			}
			var results []*verifier.Token
			var before []string
			describe := func(r *verifier.Token) string { return fmt.Sprintf("%+v %s", *r, r.Claims()) }
			for _, token := range tokens {
				result := expect(t, v, token, accepted)
				results, before = append(results, result), append(before, describe(result))
			}
			for i := range 500 {
				filler := strings.Repeat(fmt.Sprint(i%10), 40+i)
				expect(t, v, offline(t, offlineClaims.with("jti", `"`+filler+`"`)), accepted)
				expect(t, v, offline(t, offlineClaims.with("jti", `"`+filler+`"`).with("aud", `"`+filler+`"`)), verifier.ReasonAudience)
			}
			for i, result := range results {
				if after := describe(result); after != before[i] {
					t.Errorf("a result has changed from\n%s to\n%s", before[i], after)
				}
			}
		})
	}
}

package mint

import (
	"net/http"
	"strings"
	"testing"
)

var challenges = []struct {
	header string
	want   bool
}{
	{`Bearer error="invalid_token"`, true},
	{`Bearer realm="https://billing", error="invalid_token", error_description="it has ended"`, true},
	{`bearer ERROR=invalid_token`, true},
	{"Bearer\trealm=\"a\" ,\terror = \"invalid_token\"", true},
	{`Bearer realm="a, b \" c", error="invalid_token"`, true},
	{`Basic realm="x", Bearer error="invalid_token"`, true},
	{`Negotiate abc==, Bearer error="invalid_token"`, true},
	{`Negotiate, Bearer realm="x", error="invalid_token", Basic realm="y"`, true},
	{`, ,Bearer , error="invalid_token"`, true},

	{``, false},
	{`Bearer`, false},
	{`Bearer realm="x"`, false},
	{`Bearer error="insufficient_scope"`, false},
	{`Bearer error="Invalid_Token"`, false},
	{`Bearer error_description="invalid_token"`, false},
	{`Bearer realm="error=\"invalid_token\""`, false},
	{`Bearer realm="x, error=invalid_token"`, false},
	{`DPoP error="invalid_token"`, false},
	{`Bearer realm="x", DPoP error="invalid_token"`, false},
	{`Basic realm="Bearer error=invalid_token"`, false},
	{`error="invalid_token"`, false},
	{`Bearer error=`, false},
	{`Bearer error="invalid_token`, false},
	{`Bearer error==invalid_token`, false},
	{`=invalid_token`, false},
	{`"`, false},
	{`"\`, false},
}

func TestOnlyABearerChallengeWithInvalidTokenMeansThatTheTokenIsInvalid(t *testing.T) {
	for _, test := range challenges {
		if got := isInvalidToken(http.Header{"Www-Authenticate": {`Basic realm="x"`, test.header}}); got != test.want {
			t.Errorf("%s: %v", test.header, got)
		}
	}
	if isInvalidToken(nil) {
		t.Error("no header at all")
	}
}

func FuzzChallenge(f *testing.F) {
	if len(challenges) == 0 {
		f.Fatal("no seeds")
	}
	for _, test := range challenges {
		f.Add(test.header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if hasInvalidToken(header) && !strings.Contains(header, "invalid_token") {
			t.Errorf("%q has no invalid_token", header)
		}
		// Another challenge before it, of which nothing is open, changes nothing.
		if hasInvalidToken(header) != hasInvalidToken(`Basic realm="x", `+header) {
			t.Errorf("%q is read otherwise after another challenge", header)
		}
	})
}

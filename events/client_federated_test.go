package events

import (
	"reflect"
	"strings"
	"testing"
)

const federatedJSON = `{"issuer":"github","sub":"repo:acme/orders:ref:refs/heads/main","aud":"https://auth.example.com"}`

func federated(members ...string) string {
	return `{"federated":[` + with(federatedJSON, members...) + `]}`
}

func TestFederatedIdentities(t *testing.T) {
	many := make([]string, MaxSecrets+1)
	for i := range many {
		many[i] = with(federatedJSON, "sub", `"s`+string(rune('a'+i))+`"`)
	}
	for name, record := range map[string]string{
		"exact":           federated(),
		"a prefix":        federated("sub", `"repo:acme/*"`),
		"with more":       federated("label", `[1]`),
		"16 of them":      `{"federated":[` + strings.Join(many[:MaxSecrets], ",") + `]}`,
		"another subject": `{"federated":[` + federatedJSON + `,` + with(federatedJSON, "sub", `"b"`) + `]}`,
	} {
		c, err := ParseClient([]byte(record))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := c.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if back, err := ParseClient(out); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s reads back as %+v (%v)", name, back, err)
		}
	}
	for _, c := range []struct{ name, record, want string }{
		{"an object", `{"federated":{}}`, "not an array"},
		{"17 of them", `{"federated":[` + strings.Join(many, ",") + `]}`, "more than 16"},
		{"no issuer", federated("issuer", ""), "issuer: "},
		{"an issuer that is no name", federated("issuer", `"https://x"`), `"issuer"`},
		{"no sub", federated("sub", ""), "sub is not text"},
		{"everybody", federated("sub", `"*"`), "everybody"},
		{"a star within", federated("sub", `"a*b"`), "not at its end"},
		{"two stars", federated("sub", `"a**"`), "not at its end"},
		{"a control character", federated("sub", `"a\u0000"`), "sub is not text"},
		{"no aud", federated("aud", ""), "aud is not text"},
		{"a list of aud", federated("aud", `["a"]`), "not a string"},
		{"the same twice", `{"federated":[` + federatedJSON + `,` + federatedJSON + `]}`, "twice"},
	} {
		t.Run("refused: "+c.name, func(t *testing.T) {
			_, err := ParseClient([]byte(c.record))
			checkRefused(t, err, c.want)
		})
	}
}

func TestASubjectMatchesExactlyOrByItsPrefix(t *testing.T) {
	for _, c := range []struct {
		registered, subject string
		want                bool
	}{
		{"a:b", "a:b", true}, {"a:b", "a:bc", false}, {"a:b", "A:b", false}, {"a:b", "", false},
		{"a:*", "a:", true}, {"a:*", "a:b", true}, {"a:*", "a", false}, {"a:*", "b:a:", false}, {"a:*", "a:*", true},
	} {
		if got := (Federated{Subject: c.registered}).Matches(c.subject); got != c.want {
			t.Errorf("%q matches %q: %v", c.registered, c.subject, got)
		}
	}
}

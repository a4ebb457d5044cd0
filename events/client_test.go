package events

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const (
	secretJSON = `{"id":"k3","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}`
	zeroHash   = `"0000000000000000000000000000000000000000000000000000000000000000"`
)

// secrets is a client record with n secrets.
func secrets(n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = with(secretJSON, "id", fmt.Sprintf(`"k%d"`, i))
	}
	return `{"secrets":[` + strings.Join(items, ",") + `]}`
}

// secret is a client record with one secret that is changed by members.
func secret(members ...string) string { return `{"secrets":[` + with(secretJSON, members...) + `]}` }

func TestClientMembers(t *testing.T) {
	for name, record := range map[string]string{
		"nothing":                     `{}`,
		"no secrets":                  `{"secrets":[]}`,
		"a secret":                    secret(),
		"16 secrets":                  secrets(16),
		"a secret with times":         secret("iat", `5`, "exp", `6`),
		"a secret with an iat of 0":   secret("iat", `0`),
		"a secret in capitals":        secret("sha256", `"9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"`),
		"a secret with more":          secret("label", `{"a":1}`),
		"require_jti":                 `{"require_jti":true}`,
		"no require_jti":              `{"require_jti":false}`,
		"what is read by a newer one": `{"dpop":{"san_dns":"a"},"federated":[],"x":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseClient([]byte(record))
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseClient(out); err != nil || !reflect.DeepEqual(back, c) {
				t.Fatalf("reads back as\n%+v (%v), was\n%+v", back, err, c)
			}
		})
	}
	for _, c := range []struct{ name, record, want string }{
		{"a list", `[]`, "not an object"},
		{"secrets of an object", `{"secrets":{}}`, `"secrets": not an array`},
		{"a secret of a string", `{"secrets":["a"]}`, `"secrets": json`},
		{"17 secrets", secrets(17), "more than 16"},
		{"a secret without id", secret("id", ""), `secret id ""`},
		{"an id of a number", secret("id", `1`), `"id": not a string`},
		{"an id with a dot", secret("id", `"a.b"`), `secret id "a.b"`},
		{"an id of 65 characters", secret("id", text(65)), "secret id"},
		{"an id twice", `{"secrets":[` + secretJSON + `,` + secretJSON + `]}`, "once each"},
		{"a secret without a hash", secret("sha256", ""), "has no sha256"},
		{"a hash of zeros", secret("sha256", zeroHash), "has no sha256"},
		{"a hash of 62 digits", secret("sha256", `"`+strings.Repeat("ab", 31)+`"`), "64 hexadecimal digits"},
		{"a hash of 63 digits", secret("sha256", `"`+strings.Repeat("ab", 31)+`a"`), "64 hexadecimal digits"},
		{"a hash of 66 digits", secret("sha256", `"`+strings.Repeat("ab", 33)+`"`), "64 hexadecimal digits"},
		{"a hash that is not hexadecimal", secret("sha256", `"`+strings.Repeat("xy", 32)+`"`), "64 hexadecimal digits"},
		{"a hash of a number", secret("sha256", `1`), `"sha256": not a string`},
		{"an exp of zero, which would be no end", secret("exp", `0`), `"exp": zero`},
		{"a negative exp", secret("exp", `-1`), `"exp": time -1`},
		{"an exp of a string", secret("exp", `"5"`), `"exp": not an integer`},
		{"a negative iat", secret("iat", `-1`), `"iat": time -1`},
		{"an iat of a string", secret("iat", `"5"`), `"iat": not an integer`},
		{"an exp at iat", secret("iat", `5`, "exp", `5`), "exp 5 is not after iat 5"},
		{"a member of a secret twice", `{"secrets":[{"id":"a","id":"b"}]}`, "duplicate"},
		{"require_jti of a string", `{"require_jti":"true"}`, `"require_jti": not true or false`},
		{"secrets twice", `{"secrets":[],"secrets":[]}`, "duplicate"},
	} {
		t.Run("refused: "+c.name, func(t *testing.T) {
			r, err := ParseClient([]byte(c.record))
			checkRefused(t, err, c.want)
			if r != nil {
				t.Fatal("an error and a record")
			}
		})
	}
}

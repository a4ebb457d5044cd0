package issuer

import (
	"fmt"
	"strings"
	"testing"
)

func TestARetiredKeySignsNoMore(t *testing.T) {
	key, err := newSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	if !key.reserve(200) || !key.reserve(100) {
		t.Fatal("a key in use does not sign")
	}
	if last := key.retire(); last != 200 {
		t.Errorf("the last token ends at %d, want 200", last)
	}
	if key.reserve(300) {
		t.Error("it signs")
	}
	if last := key.retire(); last != 200 {
		t.Errorf("after that the last token ends at %d, want 200", last)
	}
}

func TestAPrivateKeyDoesNotGetIntoAnyText(t *testing.T) {
	private := newPrivateKey(t)
	key, err := hide(private)
	if err != nil {
		t.Fatal(err)
	}
	secret := private.Seed()
	for _, value := range []any{key, []*signingKey{key}, &lease{key: key}, &keyring{leases: []*lease{{key: key}}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			text := fmt.Sprintf(verb, value)
			for _, form := range []string{"%d", "%x", "%#v", "%s", "%q"} {
				if shown := strings.Trim(fmt.Sprintf(form, secret), "[]{}"); strings.Contains(text, shown) {
					t.Errorf("%s of %T shows the private key", verb, value)
				}
			}
		}
	}
}

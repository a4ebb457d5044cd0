package refresh

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
)

// A key ends at its own exp, whatever the provider answers until then, and afterwards.
func TestI21_AKeyEndsAtItsOwnExp(t *testing.T) {
	for name, later := range map[string]func() (document, error){
		"304":     func() (document, error) { return document{unchanged: true, etag: `"1"`, life: leastLife}, nil },
		"no more": func() (document, error) { return document{}, errors.New("connection refused") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				exp := time.Now().Add(20 * time.Minute)
				body := jwks(fmt.Sprintf(`{%s,"kid":"k1","exp":%d}`, testKeys().ed, exp.Unix()), fmt.Sprintf(`{%s,"kid":"k2"}`, testKeys().ed))
				w.issuer("idp", func() (document, error) { return document{body: body, etag: `"1"`, life: leastLife}, nil })
				start(t, w.registered("a"))
				time.Sleep(time.Minute)
				w.issuer("idp", later)
				usable := func(kid events.KeyID) bool {
					k := w.set.Keys().Key("idp", kid)
					return k != nil && k.State(time.Now()).Usable()
				}
				time.Sleep(time.Until(exp) - time.Second)
				if !usable("k1") || !usable("k2") {
					t.Error("a key has ended too early")
				}
				time.Sleep(time.Second)
				if usable("k1") || !usable("k2") {
					t.Errorf("k1 is usable: %t, k2: %t", usable("k1"), usable("k2"))
				}
				time.Sleep(2 * time.Hour)
				if usable("k1") || !usable("k2") {
					t.Errorf("hours later k1 is usable: %t, k2: %t", usable("k1"), usable("k2"))
				}
			})
		})
	}
}

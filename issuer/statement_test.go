package issuer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

func TestAStatementIsKnownAtEveryNodeAndNowhereElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		defer f.stop()
		said := Statement{Type: "cursor+jwt", Subject: "orders", Value: `sc_"x"`, Expires: time.Now().Add(10 * time.Minute).Truncate(time.Second)}
		text, err := f.node.Sign(said)
		if err != nil {
			t.Fatal(err)
		}
		other, err := New(f.node.cfg) // another node on the same records
		if err != nil {
			t.Fatal(err)
		}
		for name, node := range map[string]*Node{"itself": f.node, "another node": other} {
			if got, err := node.Open("cursor+jwt", text); err != nil || got.Subject != "orders" || got.Value != said.Value || !got.Expires.Equal(said.Expires) {
				t.Errorf("%s opens %+v, %v", name, got, err)
			}
		}
		refused := func(what, typ, text string) {
			t.Helper()
			if got, err := f.node.Open(typ, text); !errors.Is(err, ErrStatement) || got != (Statement{}) {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
		}
		refused("another type", "other+jwt", text)
		signature := strings.LastIndexByte(text, '.') + 1
		another := "A"
		if text[signature] == 'A' {
			another = "B"
		}
		refused("a changed one", "cursor+jwt", text[:signature]+another+text[signature+1:])
		refused("a part", "cursor+jwt", text[:strings.LastIndexByte(text, '.')])
		refused("nothing", "cursor+jwt", "")
		access := f.token(f.withKey()).AccessToken
		refused("an access token", "cursor+jwt", access)
		refused("an access token by its own type", typeAccessToken, access)
		forged := fmt.Appendf(nil, `{"iss":%q,"sub":"orders","exp":%d,"val":"x"}`, testIssuer, time.Now().Add(time.Minute).Unix())
		byClient, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: "k1", Type: "cursor+jwt"}, forged, f.private)
		if err != nil {
			t.Fatal(err)
		}
		refused("one that a client has signed", "cursor+jwt", byClient)
		byClient, err = jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: string(f.kid()), Type: "cursor+jwt"}, forged, f.private)
		if err != nil {
			t.Fatal(err)
		}
		refused("one that a client has signed, with the kid of the node", "cursor+jwt", byClient)
		if _, err := verify(f.bucket.Keys(), text); err != nil {
			t.Errorf("the platform's key does not verify it: %v", err)
		}
		time.Sleep(10 * time.Minute) // of the bubble's clock
		refused("one that has ended", "cursor+jwt", text)

		for _, typ := range []string{"", typeAccessToken} {
			if _, err := f.node.Sign(Statement{Type: typ, Subject: "a", Value: "b", Expires: time.Now().Add(time.Minute)}); err == nil {
				t.Errorf("a statement of the type %q was signed", typ)
			}
		}
		if _, err := f.node.Sign(Statement{Type: "cursor+jwt", Subject: "a", Value: "b", Expires: time.Now().Add(3 * time.Hour)}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a statement that outlives the lease: %v", err)
		}
		if _, err := other.Sign(said); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a node without a key: %v", err)
		}
	})
}

// What a thief has signed with a key of the platform ends with the key, however long it says that it is good.
func TestAStatementEndsWithTheKeyThatSignedIt(t *testing.T) {
	record := func(kid events.KeyID) string { return events.KeyRecord(events.Platform, kid).String() }
	for name, end := range map[string]func(f *fixture, kid events.KeyID, key events.Key){
		"revoked for ever": func(f *fixture, kid events.KeyID, _ events.Key) {
			f.bucket.put(events.RevokedRecord(events.Platform, kid).String(), `{"reason":"leaked"}`)
		},
		"revoked in its record": func(f *fixture, kid events.KeyID, key events.Key) {
			key.Revoked = &events.KeyRevocation{RevokedAt: time.Now().Unix()}
			f.bucket.put(record(kid), encodeKey(f.t, kid, key))
		},
		"expired": func(f *fixture, kid events.KeyID, key events.Key) {
			key.Expires = time.Now().Add(time.Second).Unix()
			f.bucket.put(record(kid), encodeKey(f.t, kid, key))
			time.Sleep(time.Second) // of the bubble's clock
		},
		"not valid yet": func(f *fixture, kid events.KeyID, key events.Key) {
			key.NotBefore = time.Now().Add(time.Second).Unix()
			f.bucket.put(record(kid), encodeKey(f.t, kid, key))
		},
		"removed": func(f *fixture, kid events.KeyID, _ events.Key) { f.bucket.del(record(kid)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t)
				defer f.stop()
				kid := f.kid()
				text, err := f.node.Sign(Statement{Type: "cursor+jwt", Subject: "orders", Value: "x", Expires: time.Now().Add(10 * time.Minute)})
				if err != nil {
					t.Fatal(err)
				}
				other, err := New(f.node.cfg)
				if err != nil {
					t.Fatal(err)
				}
				nodes := map[string]*Node{"the node": f.node, "another node": other}
				for who, node := range nodes {
					if _, err := node.Open("cursor+jwt", text); err != nil {
						t.Fatalf("%s, before: %v", who, err)
					}
				}
				record := f.bucket.Keys().Key(events.Platform, kid).Record
				end(f, kid, events.Key{Public: record.Public, Expires: record.Expires})
				for who, node := range nodes {
					if got, err := node.Open("cursor+jwt", text); !errors.Is(err, ErrStatement) || got != (Statement{}) {
						t.Errorf("%s: %+v, %v", who, got, err)
					}
				}
			})
		})
	}
}

package registry_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry"
)

// jwks is a JWK set of public keys, made of what follows.
func jwks(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

func TestParseKeySet(t *testing.T) {
	private := `{"kty":"OKP","crv":"Ed25519","kid":"p","x":"` + rfc8037x + `","d":"` + rfc8037d + `"}`
	good := eventstest.KeyJSON(1, `"kid":"k1"`)
	for name, c := range map[string]struct {
		text []byte
		kind error
		want string
	}{
		"a private key among public ones": {jwks(good, private), registry.ErrPrivateKey, `key 2 (kid "p"): this is a private key`},
		"a symmetric key":                 {jwks(`{"kty":"oct","kid":"s","k":"` + rfc8037d + `"}`), registry.ErrPrivateKey, `key 1 (kid "s")`},
		"a single private key":            {[]byte(private), registry.ErrPrivateKey, "this is a private key"},
		"a private key, cut off":          {[]byte(strings.TrimSuffix(`{"keys":[`+private, "}")), registry.ErrPrivateKey, "this is a private key"},
		"PEM":                             {[]byte("-----BEGIN PRIVATE KEY-----\n" + rfc8037d + "\n-----END PRIVATE KEY-----"), registry.ErrPrivateKey, "this is a private key"},
		"a single key":                    {[]byte(good), registry.ErrInvalid, "key add --public"},
		"no JSON":                         {[]byte("x"), registry.ErrInvalid, "not a JWK set"},
		"nothing":                         {nil, registry.ErrInvalid, "not a JWK set"},
		"no keys":                         {jwks(), registry.ErrInvalid, "there is no key in it"},
		"keys of another type":            {[]byte(`{"keys":{}}`), registry.ErrInvalid, "not an array"},
		"a key of another type":           {jwks(good, `1`), registry.ErrInvalid, "key 2:"},
		"a key for encryption":            {jwks(eventstest.KeyJSON(1, `"use":"enc"`)), registry.ErrInvalid, "key 1"},
		"a weak key":                      {jwks(`{"kty":"RSA","alg":"RS256","n":"w7Zdfmece8iaB0kiTY8pCtiBtzbptJmP28nSWwtdjRu0f2GFpajvWE4VhfJAjEsOcwYzay7XGN0b-X84BfC8hmCTOj2b2eHT7NsZegFPKRUQzJ9wW8ipn_aDJWMGDuB1XyqT1E7DYqjUCEOD1b4FLpy_xPn6oV_TYOfQ9fZdbE5HGxJUzekuGcOKqOQ8M7wfYHhHHLxGpQVgL0apWuP2gDDOdTtpuld4D2LK1MZK99s9gaSjRHE8JDb1Z4IGhEcEyzkxswVdPndUWzfvWBBWXWxtSUvQGBRkuy1BHOa4sP6FKjWEeeF7gm7UMs2Nm2QUgNZw6xvEDGaLk4KASdIxRQ","e":"AQ"}`), registry.ErrInvalid, "key 1"},
		"a curve that is not used":        {jwks(`{"kty":"OKP","crv":"X25519","x":"` + rfc8037x + `"}`), registry.ErrInvalid, "key 1"},
		"a revoked key":                   {jwks(eventstest.KeyJSON(1, `"revoked":{}`)), registry.ErrInvalid, "it is revoked"},
		"a time that is none":             {jwks(eventstest.KeyJSON(1, `"exp":"tomorrow"`)), registry.ErrInvalid, "member exp"},
		"too many":                        {jwks(slices.Repeat([]string{good}, 101)...), registry.ErrInvalid, "more than 100"},
		"a kid twice in one key":          {jwks(eventstest.KeyJSON(1, `"kid":"a","kid":"b"`)), registry.ErrInvalid, "not a JWK set"},
	} {
		specs, err := registry.ParseKeySet(c.text)
		if !errors.Is(err, c.kind) || errors.Is(err, registry.ErrInvalid) != (c.kind == registry.ErrInvalid) || !strings.Contains(err.Error(), c.want) || specs != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), rfc8037d) || strings.Contains(err.Error(), rfc8037d[:8])) {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
	specs, err := registry.ParseKeySet(jwks(good, eventstest.KeyJSON(2, `"nbf":5,"exp":4000000000,"later":1`)))
	if err != nil || len(specs) != 2 || specs[0].KeyID != "k1" || specs[1].NotBefore.Unix() != 5 || specs[1].Expires.Unix() != 4000000000 {
		t.Errorf("%+v, %v", specs, err)
	}
}

func TestImportedKeysAreAllRegisteredOrNone(t *testing.T) {
	for name, c := range map[string]struct {
		keys []string
		kind error
		want string
	}{
		"one more than there may be": {[]string{eventstest.KeyJSON(1), eventstest.KeyJSON(2), eventstest.KeyJSON(3), eventstest.KeyJSON(4), eventstest.KeyJSON(5)}, registry.ErrTooManyKeys, "client orders has 1 keys already"},
		"a key twice":                {[]string{eventstest.KeyJSON(1), eventstest.KeyJSON(1)}, registry.ErrInvalid, "twice"},
		"a kid twice":                {[]string{eventstest.KeyJSON(1, `"kid":"a"`), eventstest.KeyJSON(2, `"kid":"a"`)}, registry.ErrInvalid, "twice"},
		"another's kid":              {[]string{eventstest.KeyJSON(1), eventstest.KeyJSON(2, `"kid":"old"`)}, registry.ErrExists, "another key of that kid"},
		"a key of another client":    {[]string{eventstest.KeyJSON(1), eventstest.KeyJSON(8)}, registry.ErrKeyTaken, `as key "k8" of billing`},
		"a key that is over":         {[]string{eventstest.KeyJSON(1), eventstest.KeyJSON(2, `"exp":5`)}, registry.ErrInvalid, "expired"},
		"a revoked kid":              {[]string{eventstest.KeyJSON(1), eventstest.KeyJSON(2, `"kid":"dead"`)}, registry.ErrExists, "revoked"},
		"a kid that a client cannot": {[]string{eventstest.KeyJSON(1), eventstest.KeyJSON(2, `"kid":"a b"`)}, registry.ErrInvalid, "A-Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.client("orders")
			w.client("billing")
			w.add("orders", "old")
			w.importKeys("billing", eventstest.KeyJSON(8, `"kid":"k8"`))
			if _, err := w.RevokeKey(t.Context(), alice, "orders", "dead", ""); err != nil {
				t.Fatal(err)
			}
			before := len(w.set().Keys("orders"))
			_, err := w.ImportKeys(t.Context(), alice, "orders", must(registry.ParseKeySet(jwks(c.keys...)))(t))
			wantError(t, err, c.kind, c.want)
			if after := len(w.set().Keys("orders")); after != before {
				t.Errorf("%d keys were registered all the same", after-before)
			}
		})
	}
}

// importKeys imports keys that may be imported.
func (w *world) importKeys(name events.Name, keys ...string) registry.Imported {
	w.t.Helper()
	specs, err := registry.ParseKeySet(jwks(keys...))
	if err != nil {
		w.t.Fatal(err)
	}
	did, err := w.ImportKeys(w.t.Context(), alice, name, specs)
	if err != nil {
		w.t.Fatal(err)
	}
	return did
}

func TestImportIsRepeatedWithoutHarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.client("orders")
	keys := []string{eventstest.KeyJSON(1, `"kid":"k1"`), eventstest.KeyJSON(2), eventstest.KeyJSON(3, `"kid":"k3","exp":4000000000`)}
	did := w.importKeys("orders", keys...)
	if len(did.Added) != 3 || len(did.Already) != 0 || did.Added[0].KeyID != "k1" || did.Added[1].KeyID == "" || did.Added[2].Record.Expires != 4000000000 {
		t.Fatalf("%+v", did)
	}
	revision := w.set().Revision()
	if again := w.importKeys("orders", keys...); len(again.Added) != 0 || len(again.Already) != 3 || w.set().Revision() != revision {
		t.Errorf("%+v", again)
	}
	if more := w.importKeys("orders", append(keys, eventstest.KeyJSON(4, `"kid":"k4"`))...); len(more.Added) != 1 || len(more.Already) != 3 {
		t.Errorf("%+v", more)
	}
	if _, err := w.RevokeKey(t.Context(), alice, "orders", "k1", "leaked"); err != nil {
		t.Fatal(err)
	}
	_, err := w.ImportKeys(t.Context(), alice, "orders", must(registry.ParseKeySet(jwks(keys...)))(t))
	wantError(t, err, registry.ErrKeyTaken, `key 1 (kid "k1")`, "revoked")
	authority := registry.Caller{Name: "token", Authority: &registry.Authority{}}
	_, err = w.ImportKeys(t.Context(), authority, "orders", must(registry.ParseKeySet(jwks(keys...)))(t))
	wantError(t, err, registry.ErrForbidden, "operator's NATS credential")
}

func FuzzParseKeySet(f *testing.F) {
	f.Add(jwks(eventstest.KeyJSON(1, `"kid":"k1"`), eventstest.KeyJSON(2, `"nbf":5,"exp":6`)))
	f.Add(jwks(`{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037x + `","d":"` + rfc8037d + `"}`))
	f.Add(jwks(`{"kty":"EC","crv":"P-256","x":"","y":""}`, `{"kty":"RSA","n":"AQ","e":"AQAB"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		specs, err := registry.ParseKeySet(data)
		if err != nil {
			if specs != nil || !errors.Is(err, registry.ErrInvalid) && !errors.Is(err, registry.ErrPrivateKey) {
				t.Fatalf("%v, %v", specs, err)
			}
			return
		}
		for _, s := range specs {
			alg := s.Algorithm
			if alg == "" {
				alg = events.RS256 // a key of RSA that does not say
			}
			if err := events.CheckPublicKey(alg, s.Public); err != nil {
				t.Fatalf("accepted, and cannot be registered: %v", err)
			}
		}
	})
}

package issuer

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// listed reads a JWK Set and returns its kids.
func listed(t *testing.T, w *httptest.ResponseRecorder) []string {
	t.Helper()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || w.Code != 200 {
		t.Fatalf("status %d, body %q: %v", w.Code, w.Body, err)
	}
	if set.Keys == nil {
		t.Fatalf("keys is missing or null: %s", w.Body)
	}
	kids := []string{}
	for _, key := range set.Keys {
		kids = append(kids, key["kid"])
	}
	return kids
}

func TestI20_AKeyIsListedWithItsPublicMembersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for _, path := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration/jwks"} {
			w := f.get(path)
			var set struct{ Keys []map[string]any }
			if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
				t.Fatal(err)
			}
			public := f.bucket.Keys().Key(events.Platform, f.kid()).Record.Public
			thumbprint, err := events.Thumbprint(public)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": thumbprint, "x": set.Keys[0]["x"]}
			if len(set.Keys) != 1 || fmt.Sprint(set.Keys[0]) != fmt.Sprint(want) {
				t.Errorf("%s: %s, want %v", path, w.Body, want)
			}
			// What a verifier reads from the list verifies our tokens.
			text, _ := json.Marshal(set.Keys[0])
			key, err := events.ParseKey(f.kid(), text)
			if err != nil {
				t.Fatal(err)
			}
			token := f.granted(f.withKey())
			if err := jws.Verify(jws.EdDSA, key.Public, token.SigningInput(), token.Signature()); err != nil {
				t.Error(err)
			}
		}
	})
}

// manyKeys puts keys in all states beside the node's own: one is pending for 20 s, one ends in 30 s.
func (f *fixture) manyKeys() {
	now := time.Now().Unix()
	for kid, key := range map[events.KeyID]events.Key{
		"pending": {NotBefore: now + 20},
		"ending":  {Expires: now + 30},
		"expired": {Expires: now},
		"revoked": {Revoked: &events.KeyRevocation{RevokedAt: now}},
		"leaked":  {},
		"active":  {},
	} {
		key.Public = newPrivateKey(f.t).Public()
		f.bucket.put(events.KeyRecord(events.Platform, kid).String(), encodeKey(f.t, kid, key))
	}
	f.bucket.put("revoked.platform.leaked", "{}")
}

func TestTheListHasTheKeysThatAreUsableNowOrWillBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.manyKeys()
		want := []string{"active", "ending", "pending", string(f.kid())}
		slices.Sort(want)
		w := f.get("/.well-known/jwks.json")
		if got := listed(t, w); !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
		if got := w.Header().Get("Cache-Control"); got != "public, max-age=20" {
			t.Errorf("Cache-Control %q, want 20 s: until the pending key begins", got)
		}
		for kid, want := range map[string][]string{"active": {"active"}, "pending": {"pending"}, "leaked": {}, "nothing": {}} {
			if got := listed(t, f.get("/.well-known/jwks.json?kid="+kid)); !slices.Equal(got, want) {
				t.Errorf("kid=%s: listed %q, want %q", kid, got, want)
			}
		}
	})
}

func TestAListIsNotModifiedUntilItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.manyKeys()
		tag := f.get("/.well-known/jwks.json").Header().Get("ETag")
		if !strings.HasPrefix(tag, fmt.Sprintf(`"%d-`, f.bucket.Keys().Revision())) {
			t.Errorf("ETag %s is not of the revision %d", tag, f.bucket.Keys().Revision())
		}
		ask := func(ifNoneMatch string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "/.well-known/jwks.json", nil)
			r.Header.Set("If-None-Match", ifNoneMatch)
			return f.do(r)
		}
		for _, header := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			if w := ask(header); w.Code != 304 || w.Body.Len() > 0 || w.Header().Get("ETag") != tag {
				t.Errorf("If-None-Match %s: status %d", header, w.Code)
			}
		}
		for _, header := range []string{"", `"x"`, strings.Trim(tag, `"`)} {
			if w := ask(header); w.Code != 200 {
				t.Errorf("If-None-Match %s: status %d", header, w.Code)
			}
		}
		time.Sleep(25 * time.Second)
		if w := ask(tag); w.Code != 304 || w.Header().Get("Cache-Control") != "public, max-age=5" {
			t.Errorf("after the pending key began: status %d, Cache-Control %q", w.Code, w.Header().Get("Cache-Control"))
		}
		time.Sleep(10 * time.Second)
		if w := ask(tag); w.Code != 200 || slices.Contains(listed(t, w), "ending") {
			t.Errorf("a key has ended without an event: status %d", w.Code)
		}
		f.bucket.put("revoked.platform.active", "{}")
		if w := ask(tag); w.Code != 200 || slices.Contains(listed(t, w), "active") {
			t.Errorf("a key was revoked: status %d", w.Code)
		}
	})
}

func TestAClientsKeysAreListedIfItMayMintOfflineTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.bucket.put("issuer.online", `{"type":"client","status":"active","aud":["https://billing"]}`)
		f.bucket.put("issuer.closed", strings.Replace(ordersJSON, "active", "disabled", 1))
		f.bucket.put("issuer.github", `{"type":"external","status":"active","iss":"https://github.example","use":["assertion"]}`)
		for _, name := range []events.Name{"online", "closed", "github", "nobody"} {
			f.bucket.put(events.KeyRecord(name, "k1").String(), encodeKey(t, "k1", events.Key{Public: newPrivateKey(t).Public()}))
		}
		path := func(name string) string { return "/v1/clients/" + name + "/.well-known/openid-configuration/jwks" }
		if got := listed(t, f.get(path("orders"))); !slices.Equal(got, []string{"k1"}) {
			t.Errorf("orders: listed %q", got)
		}
		if got := listed(t, f.get(path("orders")+"?kid=k2")); len(got) != 0 {
			t.Errorf("orders, kid=k2: listed %q", got)
		}
		for _, name := range []string{"online", "closed", "github", "nobody", "stranger", "platform", "a%20b", "%2e", "a.b", strings.Repeat("x", 1000)} {
			w := f.get(path(name))
			if w.Code != 200 || w.Body.String() != `{"keys":[]}` {
				t.Errorf("%.20s: status %d, %s", name, w.Code, w.Body)
			}
		}
	})
}

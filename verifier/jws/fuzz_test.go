package jws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// fuzzSeeds are tokens of all kinds: the published vectors, and what the tests of this package are about.
func fuzzSeeds(t testing.TB) []string {
	t.Helper()
	seeds := []string{
		goldenToken,
		usualToken(),
		"eyJhbGciOiJSUzI1NiJ9." + rfc7515Payload + "." + rfc7515RS256Signature,
		"eyJhbGciOiJFUzI1NiJ9." + rfc7515Payload + "." + rfc7515ES256Signature,
		tokenOf(`{"alg":"Ed25519","kid":"\u006b","typ":"JWT","jku":"x"}`, `{"aud":["a","b"],"scopes":["x","y"],"cnf":{"jkt":"z"},"exp":0}`),
		tokenOf(`{"alg":"ES256","kid":"k"}`, `{"iss":"i","\u0073ub":"\ud83d\ude00","jti":"j","token_use":"access","nonce":null,"iat":9007199254740991}`),
		tokenOf(`{"alg":"PS256","kid":"k"}`, `{"sub":"a","Sub":"b","scope":"","nbf":1}`),
		tokenOf(`{"alg":"EdDSA","kid":"k"}`, `{"sub":"a","sub":"b"}`),
		tokenOf(`{"alg":"EdDSA","kid":"k","crit":[]}`, `{}`),
		tokenOf(`{"alg":"EdDSA","kid":"k"}`, `{"exp":1e9}`),
		tokenOf(`{"alg":"EdDSA","kid":"k"}`, `{"x":[[[[[[[[]]]]]]]]}`),
		strings.Repeat(".", 100),
	}
	for _, name := range []string{"json_web_signature_test.json", "json_web_encryption_test.json", "json_web_crypto_test.json"} {
		data, err := fs.ReadFile(wycheproof.TestVectors, name)
		if err != nil {
			t.Fatal(err)
		}
		var f wycheproofFile
		if err := json.Unmarshal(data, &f); err != nil {
			t.Fatal(err)
		}
		for _, g := range f.TestGroups {
			for _, test := range g.Tests {
				var token string
				for _, raw := range []json.RawMessage{test.JWS, test.JWE} {
					if json.Unmarshal(raw, &token) == nil {
						seeds = append(seeds, token)
					}
				}
			}
		}
	}
	return seeds
}

func TestTheFuzzerHasItsSeeds(t *testing.T) {
	seeds := fuzzSeeds(t)
	accepted := 0
	for _, seed := range seeds {
		if _, err := Parse(seed); err == nil {
			accepted++
		}
	}
	if len(seeds) < 600 || accepted < 5 {
		t.Errorf("%d seeds, of which %d are accepted: the vectors are gone", len(seeds), accepted)
	}
	t.Logf("%d seeds, of which Parse accepts %d", len(seeds), accepted)
}

// FuzzParse looks for tokens that crash the parser, that have a second spelling, or that encoding/json understands in another way.
func FuzzParse(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(checkParse)
}

// FuzzParseContent does the same below base64, where few changes at random arrive.
func FuzzParseContent(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		segments := strings.Split(seed, ".")
		if len(segments) != 3 {
			continue
		}
		header, errHeader := base64.RawURLEncoding.DecodeString(segments[0])
		payload, errPayload := base64.RawURLEncoding.DecodeString(segments[1])
		if errHeader == nil && errPayload == nil {
			f.Add(string(header), string(payload))
		}
	}
	f.Fuzz(func(t *testing.T, header, payload string) { checkParse(t, tokenOf(header, payload)) })
}

func checkParse(t *testing.T, text string) {
	token, err := Parse(text)
	checkReader(t, text, token, err)
	if err != nil {
		if token != nil {
			t.Fatal("a token and an error")
		}
		return
	}
	header, _, _ := strings.Cut(text, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	again := base64.RawURLEncoding.EncodeToString(decoded) + "." + base64.RawURLEncoding.EncodeToString(token.Payload()) + "." +
		base64.RawURLEncoding.EncodeToString(token.Signature())
	if again != text {
		t.Fatalf("%q has the same content as %q", text, again)
	}
	if !strings.HasPrefix(text, string(token.SigningInput())+".") {
		t.Fatalf("signing input %q", token.SigningInput())
	}
	compareHeader(t, token.Header, decoded)
	compareClaims(t, token.Claims, token.Payload())
}

// members reads an object with encoding/json. A map has exact names.
func members(t *testing.T, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", data, err)
	}
	return m
}

func compareHeader(t *testing.T, h Header, data []byte) {
	t.Helper()
	m := members(t, data)
	typ, _ := m["typ"].(string)
	if m["alg"] != string(h.Algorithm) || m["kid"] != h.KeyID || typ != h.Type || !slices.Contains(Algorithms(), h.Algorithm) {
		t.Fatalf("header %q was read as %+v", data, h)
	}
	for _, name := range []string{"crit", "b64", "enc"} {
		if _, ok := m[name]; ok {
			t.Fatalf("header %q has %s", data, name)
		}
	}
}

func compareClaims(t *testing.T, c Claims, data []byte) {
	t.Helper()
	m := members(t, data)
	for name, got := range map[string]string{"iss": c.Issuer, "sub": c.Subject, "client_id": c.ClientID, "jti": c.ID, "token_use": c.TokenUse} {
		if want, ok := m[name]; ok != (got != "") || ok && want != got {
			t.Fatalf("%s of %q was read as %q", name, data, got)
		}
	}
	for name, got := range map[string]struct {
		has bool
		n   int64
	}{"exp": {c.HasExpiry, c.Expiry}, "nbf": {c.HasNotBefore, c.NotBefore}, "iat": {c.HasIssuedAt, c.IssuedAt}} {
		want, ok := m[name]
		if ok != got.has {
			t.Fatalf("%s of %q was read as %+v", name, data, got)
		}
		if n, err := json.Number.Int64(numberOr0(want)); err != nil || n != got.n || n < 0 {
			t.Fatalf("%s of %q was read as %+v", name, data, got)
		}
	}
	if want := list(m["aud"]); !slices.Equal(want, c.Audience) {
		t.Fatalf("aud of %q was read as %q", data, c.Audience)
	}
	scope, ok := m["scope"]
	if !ok {
		if scope, ok = m["scopes"]; ok {
			scope = strings.Join(list(scope), " ")
		}
	}
	if s, _ := scope.(string); ok != c.HasScope || s != c.Scope {
		t.Fatalf("scope of %q was read as %q, %v", data, c.Scope, c.HasScope)
	}
	if _, ok := m["cnf"].(map[string]any); ok != (c.Confirmation != nil) {
		t.Fatalf("cnf of %q was read as %q", data, c.Confirmation)
	}
	for name, got := range map[string]bool{"nonce": c.HasNonce, "at_hash": c.HasAtHash, "c_hash": c.HasCHash} {
		if _, ok := m[name]; ok != got {
			t.Fatalf("%s of %q was read as %v", name, data, got)
		}
	}
}

func numberOr0(v any) json.Number {
	if n, ok := v.(json.Number); ok {
		return n
	}
	return "0"
}

// list is a string or an array of strings as a slice.
func list(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, s := range v {
			out = append(out, s.(string))
		}
	}
	return out
}

package refresh

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

var now = time.Unix(1_790_000_000, 0)

var b64 = base64.RawURLEncoding.EncodeToString

// The public keys that tests use, as JWKs without kid and alg; `{` and `}` are the caller's.
var testKeys = sync.OnceValue(func() (k struct{ ed, ec, rsa, weak string }) {
	must := func(err error) {
		if err != nil {
			panic(err) // the system has no random numbers
		}
	}
	ed, _, err := ed25519.GenerateKey(nil)
	must(err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	point, err := ec.PublicKey.Bytes()
	must(err)
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.ed = fmt.Sprintf(`"kty":"OKP","crv":"Ed25519","x":%q`, b64(ed))
	k.ec = fmt.Sprintf(`"kty":"EC","crv":"P-256","x":%q,"y":%q`, b64(point[1:33]), b64(point[33:]))
	k.rsa = fmt.Sprintf(`"kty":"RSA","n":%q,"e":"AQAB"`, b64(strong.N.Bytes()))
	weak := new(big.Int).SetBit(big.NewInt(1), 1023, 1)
	k.weak = fmt.Sprintf(`"kty":"RSA","n":%q,"e":"AQAB"`, b64(weak.Bytes()))
	return k
})

func jwks(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

func TestI21_OneBadKeyDoesNotSpoilTheRest(t *testing.T) {
	k := testKeys()
	good := fmt.Sprintf(`{%s,"kid":"good"}`, k.ed)
	for name, r := range map[string]struct {
		key   string
		want  string           // part of the fault; empty: it is used, or ignored
		alg   events.Algorithm // used
		alarm bool
	}{
		"Ed25519":               {key: `{` + k.ed + `,"kid":"a"}`, alg: events.EdDSA},
		"Ed25519 by its alg":    {key: `{` + k.ed + `,"kid":"a","alg":"Ed25519","use":"sig"}`, alg: events.EdDSA},
		"P-256":                 {key: `{` + k.ec + `,"kid":"a"}`, alg: events.ES256},
		"RSA with alg":          {key: `{` + k.rsa + `,"kid":"a","alg":"PS256"}`, alg: events.PS256},
		"RSA without alg":       {key: `{` + k.rsa + `,"kid":"a","use":"sig","key_ops":["verify"]}`, alg: events.RS256},
		"with a certificate":    {key: `{` + k.rsa + `,"kid":"a","x5t":"eA","x5c":["` + strings.Repeat("A", 20<<10) + `"],"nbf":1493763266}`, alg: events.RS256},
		"an exp to come":        {key: `{` + k.ed + `,"kid":"a","exp":1790000001}`, alg: events.EdDSA},
		"a foreign kid":         {key: `{` + k.ed + `,"kid":"https://idp/#1"}`, alg: events.EdDSA},
		"for encryption":        {key: `{` + k.rsa + `,"kid":"a","use":"enc"}`},
		"for encryption by ops": {key: `{` + k.rsa + `,"kid":"a","key_ops":["encrypt","wrapKey"]}`},
		"RSA-OAEP":              {key: `{` + k.rsa + `,"kid":"a","alg":"RSA-OAEP"}`},
		"RS384":                 {key: `{` + k.rsa + `,"kid":"a","alg":"RS384"}`},
		"P-384":                 {key: `{"kty":"EC","crv":"P-384","x":"AA","y":"AA","kid":"a"}`},
		"X25519":                {key: `{"kty":"OKP","crv":"X25519","x":"AA","kid":"a"}`},
		"a kty of the future":   {key: `{"kty":"AKP","alg":"ML-DSA-44","pub":"AA","kid":"a"}`},

		"no kid":             {key: `{` + k.ed + `}`, want: "no kid"},
		"a kid that is none": {key: `{` + k.ed + `,"kid":"a\nb"}`, want: "its kid is not text"},
		"a kid as a number":  {key: `{` + k.ed + `,"kid":7}`, want: "its kid is not text"},
		"an empty kid":       {key: `{` + k.ed + `,"kid":""}`, want: "its kid is not text"},
		"a long kid":         {key: `{` + k.ed + `,"kid":"` + strings.Repeat("a", 257) + `"}`, want: "its kid is not text"},
		"a kid for the second time": {key: `{` + k.ec + `,"kid":"good"}`,
			want: `(kid "good"): a key with this kid stands before it`},
		"weak RSA":            {key: `{` + k.weak + `,"kid":"a"}`, want: `(kid "a"): n is not an odd number of 2048`},
		"off the curve":       {key: `{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `","kid":"a"}`, want: "not on the curve"},
		"a small order point": {key: `{"kty":"OKP","crv":"Ed25519","x":"` + b64(make([]byte, 32)) + `","kid":"a"}`, want: `(kid "a")`},
		"two keys in one":     {key: `{` + k.ed + `,"n":"AQAB","kid":"a"}`, want: "more than one type"},
		"two members":         {key: `{` + k.ed + `,"kid":"a","kid":"b"}`, want: "key 0:"},
		"no kty":              {key: `{"kid":"a"}`, want: "kty is missing"},
		"no object":           {key: `"a"`, want: "key 0:"},
		"null":                {key: `null`, want: "key 0:"},
		"another set":         {key: string(jwks(good)), want: "no kid"},
		"too large":           {key: `{` + k.ed + `,"kid":"a","x5c":["` + strings.Repeat("A", 70<<10) + `"]}`, want: "key 0:"},
		"deep":                {key: `{` + k.ed + `,"kid":"a","z":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, want: "key 0:"},
		"revoked":             {key: `{` + k.ed + `,"kid":"a","revoked":{"revoked_at":1}}`, want: "revoked"},
		"expired":             {key: `{` + k.ed + `,"kid":"a","exp":1790000000}`, want: "expired"},
		"a private key":       {key: `{` + k.ed + `,"kid":"a","d":"` + b64(make([]byte, 32)) + `"}`, want: "private or symmetric", alarm: true},
		"a private RSA key":   {key: `{` + k.rsa + `,"kid":"a","use":"enc","dp":"AA"}`, want: "private or symmetric", alarm: true},
		"a secret":            {key: `{"kty":"oct","k":"AAAA","kid":"a"}`, want: "private or symmetric", alarm: true},
		"a broken private":    {key: `{` + k.ed + `,"kid":"a","kid":"b","d":"AA"}`, want: "private or symmetric", alarm: true},
	} {
		t.Run(name, func(t *testing.T) {
			keys := []string{r.key, good}
			if strings.Contains(name, "second time") {
				keys = []string{good, r.key}
			}
			set, err := ReadJWKS(jwks(keys...), now)
			if err != nil {
				t.Fatal(err)
			}
			if last := set.Keys[len(set.Keys)-1]; last.KeyID != "good" || last.Algorithm != events.EdDSA {
				t.Errorf("the good key is lost: %+v", set)
			}
			switch {
			case r.alg != "":
				if len(set.Keys) != 2 || set.Keys[0].Algorithm != r.alg || len(set.Faults) != 0 || set.Ignored != 0 {
					t.Errorf("it is not used: %+v", set)
				}
			case r.want == "":
				if len(set.Keys) != 1 || set.Ignored != 1 || len(set.Faults) != 0 {
					t.Errorf("it is not ignored: %+v", set)
				}
			case len(set.Faults) != 1 || len(set.Keys) != 1 || !strings.Contains(set.Faults[0].String(), r.want) || set.Faults[0].Secret != r.alarm:
				t.Errorf("the faults are %+v, want one that says %q", set.Faults, r.want)
			}
			if text := fmt.Sprint(set.Faults); strings.Contains(text, b64(make([]byte, 32))) {
				t.Errorf("the private key is in %s", text)
			}
		})
	}
}

func TestI21_ASetWithoutAUsableKeyIsNone(t *testing.T) {
	k := testKeys()
	for name, r := range map[string]struct{ text, want string }{
		"empty":                  {``, "not JSON"},
		"HTML":                   {`<html>`, "not JSON"},
		"half":                   {`{"keys":[`, "not JSON"},
		"two documents":          {`{"keys":[]}{}`, "not JSON"},
		"not UTF-8":              {"{\"keys\":[],\"a\":\"\xff\"}", "not JSON"},
		"an array":               {`[]`, "not a JSON object"},
		"null":                   {`null`, "not a JSON object"},
		"no keys":                {`{}`, "it has no keys"},
		"keys in another case":   {`{"KEYS":[]}`, "it has no keys"},
		"keys is no array":       {`{"keys":{}}`, "keys is not an array"},
		"keys is null":           {`{"keys":null}`, "keys is not an array"},
		"two members keys":       {`{"keys":[{` + k.ed + `,"kid":"a"}],"k\u0065ys":[]}`, "two members"},
		"an empty set":           {`{"keys":[]}`, "no key"},
		"nothing but encryption": {string(jwks(`{` + k.rsa + `,"kid":"a","use":"enc"}`)), "no key for signatures"},
		"nothing but a bad key":  {string(jwks(`{` + k.weak + `,"kid":"a"}`)), `no key that can be used: key 0 (kid "a"): n is not`},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := ReadJWKS([]byte(r.text), now)
			if err == nil || set != nil || !strings.Contains(err.Error(), r.want) {
				t.Errorf("set %+v, error %v, want one that says %q", set, err, r.want)
			}
		})
	}
}

func TestI21_ASetIsBounded(t *testing.T) {
	var keys []string
	for i := range 2 * maxElements {
		public, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"k%d","x":%q}`, i, b64(public)))
	}
	set, err := ReadJWKS(jwks(keys...), now)
	if err != nil || len(set.Keys) != maxKeys || len(set.Faults) > 2 || set.Faults[0].Index != maxKeys {
		t.Errorf("%d keys, faults %v, %v", len(set.Keys), set.Faults, err)
	}
	useless := strings.Split(strings.Repeat(`{"kty":"oct"} `, 2*maxElements), " ")[:2*maxElements]
	set, err = ReadJWKS(jwks(append([]string{`{` + testKeys().ed + `,"kid":"a"}`}, useless...)...), now)
	if err != nil || len(set.Keys) != 1 || len(set.Faults) > maxElements+1 {
		t.Errorf("%d keys, %d faults, %v", len(set.Keys), len(set.Faults), err)
	}
}

func FuzzReadJWKS(f *testing.F) {
	k := testKeys()
	seeds := [][]byte{
		jwks(`{` + k.ed + `,"kid":"a"}`), jwks(`{`+k.ec+`,"kid":"a"}`, `{`+k.rsa+`,"kid":"b","use":"sig","x5c":["AA"]}`),
		jwks(`{` + k.ed + `,"kid":"a","d":"AA"}`), jwks(`{"kty":"oct","k":"AA"}`, `null`, `[]`, `1`), []byte(`{"keys":[],"keys":[]}`), []byte(`{"a":1}`),
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ReadJWKS(data, now)
		if (err == nil) != (set != nil) {
			t.Fatalf("set %v, error %v", set, err)
		}
		if err != nil {
			return
		}
		if len(set.Keys) == 0 || len(set.Keys) > maxKeys || len(set.Faults) > maxElements+2 {
			t.Fatalf("%d keys and %d faults", len(set.Keys), len(set.Faults))
		}
		seen := map[events.KeyID]bool{}
		for _, key := range set.Keys {
			if err := events.CheckPublicKey(key.Algorithm, key.Public); err != nil || seen[key.KeyID] {
				t.Fatalf("key %q is used: %v", key.KeyID, err)
			}
			if _, err := events.ParseKeyID(string(key.KeyID)); err != nil {
				t.Fatal(err)
			}
			seen[key.KeyID] = true
		}
	})
}

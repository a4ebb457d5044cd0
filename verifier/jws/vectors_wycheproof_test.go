package jws

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// wycheproofFile is one file of Wycheproof, as far as we need it.
type wycheproofFile struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment   string
		Public    json.RawMessage // a JWK
		Private   json.RawMessage
		PublicKey struct{ PK string } // of EddsaVerify, in hexadecimal
		Tests     []wycheproofTest
	}
}

type wycheproofTest struct {
	ID       int `json:"tcId"`
	Comment  string
	Result   string
	JWS, JWE json.RawMessage // a string, or an object in JSON serialization
	Msg, Sig string
}

func (w wycheproofTest) valid() bool { return w.Result == "valid" }

// text is the token as it would be sent.
func text(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	if len(raw) == 0 || raw[0] != '"' {
		return string(raw)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func readWycheproof(t *testing.T, name string, tests int) (f wycheproofFile) {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range f.TestGroups {
		n += len(g.Tests)
	}
	if n != tests || f.NumberOfTests != tests {
		t.Fatalf("%s has %d tests and says %d, want %d", name, n, f.NumberOfTests, tests)
	}
	return f
}

func TestWycheproofEd25519(t *testing.T) {
	accepted, refused := 0, 0
	for _, g := range readWycheproof(t, "ed25519_test.json", 151).TestGroups {
		key, err := hex.DecodeString(g.PublicKey.PK)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range g.Tests {
			msg, err := hex.DecodeString(test.Msg)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := hex.DecodeString(test.Sig)
			if err != nil {
				t.Fatal(err)
			}
			for _, alg := range []Algorithm{EdDSA, Ed25519} {
				if err := Verify(alg, ed25519.PublicKey(key), msg, sig); (err == nil) != test.valid() {
					t.Errorf("test %d %s: %v, published as %s", test.ID, test.Comment, err, test.Result)
				}
			}
			if test.valid() {
				accepted++
			} else {
				refused++
			}
		}
	}
	t.Logf("151 tests: %d accepted, %d refused, no exceptions", accepted, refused)
}

// Why a test of json_web_signature_test.json may have another result here than the published one.
const (
	notOurAlgorithm = "valid, refused: HMAC, SHA-384 and SHA-512 are not accepted"
	emptyPayload    = "valid, refused: an empty payload is no claims"
	lenientBase64   = "valid, refused: a question mark inside a segment, which a lenient decoder skips"
	mislabelledKey  = "valid, refused: the JWK says another alg than the token (and than the RFC it is from)"
	weakKey         = "invalid, accepted: the key has primes of a broken generator (ROCA); keys are judged when registered, not here"
	keyForOtherUse  = "invalid, accepted: the JWK says that it is for encryption; keys are judged when registered, not here"
)

// wycheproofException names the reason why the result may differ; "" if it may not.
func wycheproofException(test wycheproofTest, jwk wycheproofJWK, token string) string {
	if !test.valid() {
		if 353 <= test.ID && test.ID <= 356 { // rejectWrongUse, rejectWrongKeyOps
			return keyForOtherUse
		}
		return ""
	}
	switch {
	case test.ID == 372 || test.ID == 373: // InvalidCharacterInsertedIn{Header,Payload}
		return lenientBase64
	case test.ID == 346 || test.ID == 347 || test.ID == 350 || test.ID == 351: // Figure20, Figure27
		return mislabelledKey
	case !slices.Contains(Algorithms(), Algorithm(jwk.Alg)):
		return notOurAlgorithm
	case strings.Contains(token, ".."):
		return emptyPayload
	}
	return ""
}

// The tokens have payloads like "foo", so that they stop short of Parse: what is tested is form, header, the binding of
// the algorithm to the key, and the signature.
func TestWycheproofJSONWebSignature(t *testing.T) {
	accepted, refused, exceptions := 0, 0, map[string]int{}
	for _, g := range readWycheproof(t, "json_web_signature_test.json", 401).TestGroups {
		jwk := readWycheproofJWK(t, g.Public, g.Private)
		for _, test := range g.Tests {
			token := text(t, test.JWS)
			err := verifyCompact(token, jwk)
			why := wycheproofException(test, jwk, token)
			switch {
			case (err == nil) == (test.valid() == (why == "")):
			case why == "":
				t.Errorf("%s, test %d %s: %v, published as %s", g.Comment, test.ID, test.Comment, err, test.Result)
			default:
				t.Errorf("%s, test %d %s: %v, but the exception says %q", g.Comment, test.ID, test.Comment, err, why)
			}
			if why != "" {
				exceptions[why]++
			} else if test.valid() {
				accepted++
			} else {
				refused++
			}
		}
	}
	t.Logf("401 tests: %d accepted and %d refused as published", accepted, refused)
	for _, why := range slices.Sorted(maps.Keys(exceptions)) {
		t.Logf("%d exceptions: %s", exceptions[why], why)
	}
}

// verifyCompact does to a token and its key what a verifier does: the algorithm is the key's.
func verifyCompact(token string, jwk wycheproofJWK) error {
	parsed, err := parseCompact(token, new(texts))
	if err != nil {
		return err
	}
	if alg := Algorithm(jwk.Alg); !parsed.Header.Algorithm.Same(alg) && alg != "" {
		return refuse(ReasonAlgorithm, "is not of the key's algorithm")
	}
	return Verify(parsed.Header.Algorithm, jwk.key, parsed.SigningInput(), parsed.Signature())
}

type wycheproofJWK struct {
	Alg string
	key crypto.PublicKey // nil for a key that is not of ours
}

func readWycheproofJWK(t *testing.T, public, private json.RawMessage) wycheproofJWK {
	t.Helper()
	if public == nil {
		public = private
	}
	var k struct{ Alg, Kty, Crv, X, Y, N, E string }
	if err := json.Unmarshal(public, &k); err != nil {
		t.Fatal(err)
	}
	jwk := wycheproofJWK{Alg: k.Alg}
	switch {
	case k.Kty == "RSA":
		jwk.key = &rsa.PublicKey{N: bigFrom(t, k.N), E: int(bigFrom(t, k.E).Int64())}
	case k.Crv == "P-256":
		jwk.key = ecPublic(t, k.X, k.Y)
	}
	return jwk
}

func TestV4_WycheproofEncryptedTokensAreRefused(t *testing.T) {
	for name, tests := range map[string]int{"json_web_encryption_test.json": 139, "json_web_crypto_test.json": 83} {
		encrypted, signed := 0, 0
		for _, g := range readWycheproof(t, name, tests).TestGroups {
			for _, test := range g.Tests {
				if test.JWE == nil {
					signed++
					continue
				}
				encrypted++
				token := text(t, test.JWE)
				if _, err := parseCompact(token, new(texts)); err == nil {
					t.Errorf("%s, test %d %s was accepted", name, test.ID, test.Comment)
				}
				if bytes.Count([]byte(token), []byte(".")) == 4 {
					_, err := Parse(token)
					wantReason(t, err, ReasonForm)
				}
			}
		}
		t.Logf("%s: %d encrypted tokens, all refused; %d signed ones", name, encrypted, signed)
	}
}

// The signed tokens of json_web_crypto_test.json, with the same keys as in json_web_signature_test.json.
func TestWycheproofJSONWebCryptoSignatures(t *testing.T) {
	accepted, refused, symmetric, weak := 0, 0, 0, 0
	for _, g := range readWycheproof(t, "json_web_crypto_test.json", 83).TestGroups {
		for _, test := range g.Tests {
			if test.JWS == nil {
				continue
			}
			err := verifyCompact(text(t, test.JWS), readWycheproofJWK(t, g.Public, g.Private))
			switch {
			case test.valid() && g.Public == nil: // HMAC, in a key set or not
				symmetric++
				wantReason(t, err, ReasonAlgorithm)
			case err == nil && test.ID == 46: // rejectsKeyWithRocaVulnerability
				weak++
			case (err == nil) != test.valid():
				t.Errorf("%s, test %d %s: %v, published as %s", g.Comment, test.ID, test.Comment, err, test.Result)
			case test.valid():
				accepted++
			default:
				refused++
			}
		}
	}
	t.Logf("%d accepted and %d refused as published", accepted, refused)
	t.Logf("%d exceptions: %s", symmetric, notOurAlgorithm)
	t.Logf("%d exceptions: %s", weak, weakKey)
}

package verifier_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// signer is a private key with its name and its algorithm.
type signer struct {
	kid events.KeyID
	alg jws.Algorithm
	key crypto.Signer
}

// record is the key record of the public half.
func (s signer) record() string {
	text, err := (&events.Key{Algorithm: events.Algorithm(s.alg), Public: s.key.Public()}).Encode(s.kid)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Test keys are made from their names: every process has the same ones.
var (
	platformKey = edSigner("p1")
	ordersKey   = edSigner("k1")
	shippingKey = edSigner("s1")
	loginKey    = edSigner("x1")
	buildsKey   = edSigner("b1")
	strangerKey = edSigner("k1-of-a-stranger")
)

func edSigner(kid string) signer {
	seed := sha256.Sum256([]byte("test key " + kid))
	return signer{events.KeyID(kid), jws.EdDSA, ed25519.NewKeyFromSeed(seed[:])}
}

// ordersKeys are the keys of orders: one for each algorithm.
func ordersKeys() []signer {
	return []signer{ordersKey, {"es", jws.ES256, ecKey}, {"rs", jws.RS256, rsaKey}, {"ps", jws.PS256, rsaKey}}
}

var ecKey = func() *ecdsa.PrivateKey {
	secret := sha256.Sum256([]byte("test key es"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret[:])
	if err != nil {
		panic(err)
	}
	return key
}()

// rsaKey is the example key of RFC 7515 A.2.1: published, and so nobody's credential.
var rsaKey = func() *rsa.PrivateKey {
	number := func(text string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			panic(err)
		}
		return new(big.Int).SetBytes(b)
	}
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{E: 65537, N: number("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw" +
			"-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSX" +
			"ndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWN" +
			"moudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ")},
		D: number("Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46su" +
			"i395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_" +
			"0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSe" +
			"WjnczT0QU91p1DhOVRuOopznQ"),
		Primes: []*big.Int{
			number("4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8" +
				"cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc"),
			number("uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t6" +
				"2wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc"),
		},
	}
	key.Precompute()
	if err := key.Validate(); err != nil {
		panic(err)
	}
	return key
}()

// claims are the members of a payload, each a name and a JSON text.
type claims [][2]string

// with returns the claims with one member set, or added at the end.
func (c claims) with(name, json string) claims {
	out := slices.Clone(c)
	if i := slices.IndexFunc(out, func(m [2]string) bool { return m[0] == name }); i >= 0 {
		out[i][1] = json
		return out
	}
	return append(out, [2]string{name, json})
}

// without returns the claims without one member.
func (c claims) without(name string) claims {
	return slices.DeleteFunc(slices.Clone(c), func(m [2]string) bool { return m[0] == name })
}

func (c claims) String() string {
	parts := make([]string, len(c))
	for i, m := range c {
		parts[i] = fmt.Sprintf("%q:%s", m[0], m[1])
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// The claims of a token of each type of issuer, valid at now.
var (
	onlineClaims = claims{
		{"iss", `"` + platformURL + `"`}, {"sub", `"orders"`}, {"aud", `"` + billing + `"`}, {"client_id", `"orders"`},
		{"iat", "1789999990"}, {"exp", "1790000890"}, {"jti", `"0198c5f2-6d1c-7a31-9a52-3f4f0a8f4c11"`}, {"scope", `"billing:read"`},
	}
	offlineClaims = claims{
		{"iss", `"` + ordersURL + `"`}, {"sub", `"orders"`}, {"aud", `"` + billing + `"`}, {"client_id", `"orders"`},
		{"iat", "1789999990"}, {"exp", "1790000890"}, {"scope", `"billing:read"`},
	}
	externalClaims = claims{
		{"iss", `"` + loginURL + `"`}, {"sub", `"user|77"`}, {"aud", `"` + billing + `"`},
		{"iat", "1789999990"}, {"exp", "1790000890"}, {"scope", `"profile openid"`},
	}
)

// mint makes a token of the given type.
func mint(t testing.TB, s signer, typ string, c claims) string {
	t.Helper()
	token, err := jws.Sign(jws.Header{Algorithm: s.alg, KeyID: string(s.kid), Type: typ}, []byte(c.String()), s.key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func online(t testing.TB, c claims) string   { return mint(t, platformKey, "at+jwt", c) }
func offline(t testing.TB, c claims) string  { return mint(t, ordersKey, "at+jwt", c) }
func external(t testing.TB, c claims) string { return mint(t, loginKey, "at+jwt", c) }

// header is a JSON text with the three members that a token of ours has.
func header(alg string, kid events.KeyID, typ string) string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, alg, kid, typ)
}

// forge signs anything at all, well-formed or not, so that a token is refused for what it says and not for its signature.
func forge(t testing.TB, s signer, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	return input + "." + base64.RawURLEncoding.EncodeToString(signBytes(t, s.alg, s.key, input))
}

func signBytes(t testing.TB, alg jws.Algorithm, key crypto.Signer, input string) []byte {
	t.Helper()
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch key.(type) {
	case ed25519.PrivateKey:
		signature, err = key.Sign(nil, []byte(input), crypto.Hash(0))
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = crypto.SHA256
		if alg == jws.PS256 {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		}
		signature, err = key.Sign(rand.Reader, digest[:], opts)
	case *ecdsa.PrivateKey:
		var der []byte
		if der, err = key.Sign(rand.Reader, digest[:], crypto.SHA256); err == nil {
			var rs struct{ R, S *big.Int }
			if _, err = asn1.Unmarshal(der, &rs); err == nil {
				signature = append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// each mints one kind of token of each type of issuer.
var each = []struct {
	name   string
	claims claims
	mint   func(testing.TB, claims) string
}{{"online", onlineClaims, online}, {"offline", offlineClaims, offline}, {"external", externalClaims, external}}

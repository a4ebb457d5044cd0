package verifier_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// TestAttacks has a row for every class of attack on token verification that became known elsewhere. Wherever the attacker could
// sign, the token is signed: it is refused for what it is, not because the test could not do better.
func TestAttacks(t *testing.T) {
	v := installation(t).verifier(func(cfg *verifier.Config) { cfg.AccountAudience = true })
	expect(t, v, offline(t, offlineClaims), accepted)
	expect(t, v, online(t, onlineClaims), accepted)
	expect(t, v, external(t, externalClaims), accepted)
	judge(t, v, publicKeyAsSecret(t))
	judge(t, v, hostileKids(t))
	judge(t, v, borrowedIdentities(t))
	judge(t, v, otherSpellings(t))
	judge(t, v, signaturesByOtherMeans(t))
	judge(t, v, otherKindsOfTokens(t))
	judge(t, v, hostileClaims(t))
}

// publicKeyAsSecret signs with HMAC and what everybody knows: the public key, in every form that it is written in.
func publicKeyAsSecret(t *testing.T) []row {
	var rows []row
	for _, s := range ordersKeys() {
		der, err := x509.MarshalPKIXPublicKey(s.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		secrets := map[string][]byte{
			"DER": der,
			"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		}
		if s.alg == jws.EdDSA {
			secrets["the bare key"] = bytesOf(t, s)
		}
		for form, secret := range secrets {
			for _, alg := range []string{"HS256", string(s.alg)} {
				input := b64(header(alg, s.kid, "at+jwt")) + "." + b64(offlineClaims.String())
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(input))
				want := verifier.ReasonAlgorithm
				if alg != "HS256" {
					want = verifier.ReasonSignature
				}
				rows = append(rows, row{fmt.Sprintf("HMAC with the public key of %s as %s, alg %s", s.kid, form, alg), input + "." + b64(string(mac.Sum(nil))), want})
			}
		}
	}
	return rows
}

func hostileKids(t *testing.T) []row {
	rows := []row{
		{"a kid of 64 KiB", forge(t, ordersKey, header("EdDSA", events.KeyID(strings.Repeat("k", 64<<10)), "at+jwt"), offlineClaims.String()), verifier.ReasonMalformed},
		{"a kid of 257 bytes", forge(t, ordersKey, header("EdDSA", events.KeyID(strings.Repeat("k", 257)), "at+jwt"), offlineClaims.String()), verifier.ReasonMalformed},
		{"a kid of 256 bytes", forge(t, ordersKey, header("EdDSA", events.KeyID(strings.Repeat("k", 256)), "at+jwt"), offlineClaims.String()), verifier.ReasonKey},
		{"a kid with NUL", forge(t, ordersKey, `{"alg":"EdDSA","kid":"k1\u0000","typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonMalformed},
		{"a kid with a line break", forge(t, ordersKey, `{"alg":"EdDSA","kid":"k1\n","typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonMalformed},
		{"a kid that is a number", forge(t, ordersKey, `{"alg":"EdDSA","kid":1,"typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonMalformed},
		{"a kid that is an array", forge(t, ordersKey, `{"alg":"EdDSA","kid":["k1"],"typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonMalformed},
	}
	for _, kid := range []string{
		"../k1", "../../shipping/s1", "../shipping.s1", "./k1", "k1/", "/etc/passwd", "../../../../../../dev/null", "file:///dev/null", "k1' OR '1'='1", "k1'; DROP TABLE keys;--",
		"*", ">", "k*", "k?", "k1.>", "orders.k1", "key.orders.k1", "b64.azE", "azE", "k1 ", " k1", "$(id)", "{{k1}}", "%6b1", "к1", "k1\u200b", "http://attacker.example/key",
	} {
		rows = append(rows, row{"kid " + kid, forge(t, ordersKey, header("EdDSA", events.KeyID(kid), "at+jwt"), offlineClaims.String()), verifier.ReasonKey})
	}
	return rows
}

func borrowedIdentities(t *testing.T) []row {
	as := func(kid events.KeyID) signer { return signer{kid, jws.EdDSA, ordersKey.key} }
	shippings := offlineClaims.with("iss", `"`+shippingURL+`"`).with("sub", `"shipping"`).with("client_id", `"shipping"`)
	rows := []row{
		{"the kid of another tenant", mint(t, as("s1"), "at+jwt", offlineClaims), verifier.ReasonKey},
		{"the kid of another tenant, under its iss", mint(t, as("s1"), "at+jwt", shippings), verifier.ReasonSignature},
		{"the platform's kid under a client's key", mint(t, as("p1"), "at+jwt", onlineClaims), verifier.ReasonSignature},
		{"a client's kid and the platform's iss", mint(t, ordersKey, "at+jwt", onlineClaims), verifier.ReasonKey},
		{"the platform's kid and the client's iss", mint(t, as("p1"), "at+jwt", offlineClaims), verifier.ReasonKey},
		{"another client's sub", offline(t, offlineClaims.with("sub", `"shipping"`)), verifier.ReasonSubject},
		{"another client's sub and client_id", offline(t, offlineClaims.with("sub", `"shipping"`).with("client_id", `"shipping"`)), verifier.ReasonSubject},
		{"a sub that ends in the client's name", offline(t, offlineClaims.with("sub", `"x/orders"`).with("client_id", `"x/orders"`)), verifier.ReasonSubject},
		{"two subs", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), strings.TrimSuffix(offlineClaims.String(), "}")+`,"sub":"shipping"}`), verifier.ReasonMalformed},
		{"a platform of the attacker's with the same path", offline(t, offlineClaims.with("iss", `"https://attacker.example/v1/clients/orders"`)), verifier.ReasonIssuer},
	}
	for _, path := range []string{"%6Frders", "%6frders", "orders%2e", "orders%2F", "shipping%2F..%2Forders", "shipping/../orders", "orders/", "orders//", "orders?x", "orders#x", "ORDERS", "orders%20", "orders%00"} {
		token := offline(t, offlineClaims.with("iss", `"`+platformURL+"/v1/clients/"+path+`"`))
		rows = append(rows, row{"iss for " + path, token, verifier.ReasonIssuer})
	}
	return rows
}

// otherSpellings are the same signature, written in another way: what remembers tokens by their text would see another token.
func otherSpellings(t *testing.T) []row {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	good := offline(t, offlineClaims)
	last := strings.IndexByte(alphabet, good[len(good)-1])
	if last&0xf != 0 {
		t.Fatal("64 bytes do not end in four unused bits")
	}
	rows := []row{
		{"padding", good + "==", verifier.ReasonMalformed},
		{"one character of padding", good + "=", verifier.ReasonMalformed},
		{"a line break at the end", good + "\n", verifier.ReasonMalformed},
		{"a line break in the signature", good[:len(good)-4] + "\r\n" + good[len(good)-4:], verifier.ReasonMalformed},
		{"a character more, which is a byte more", good + "A", verifier.ReasonSignature},
		{"three characters more, which is no number of bytes", good + "AAA", verifier.ReasonMalformed},
	}
	for bits := 1; bits < 16; bits++ {
		rows = append(rows, row{fmt.Sprintf("trailing bits %04b", bits), good[:len(good)-1] + string(alphabet[last|bits]), verifier.ReasonMalformed})
	}
	return rows
}

func signaturesByOtherMeans(t *testing.T) []row {
	resigned := func(token string, signature []byte) string {
		s := segments(token)
		return s[0] + "." + s[1] + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	signatureOf := func(token string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(segments(token)[2])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ed := offline(t, offlineClaims)
	es := mint(t, ordersKeys()[1], "at+jwt", offlineClaims)
	ps := mint(t, ordersKeys()[3], "at+jwt", offlineClaims)
	raw := signatureOf(es)
	r, s := new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
	der, err := ecdsa.SignASN1(nil, ecKey, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	order := elliptic.P256().Params().N
	twin := append(r.FillBytes(make([]byte, 32)), new(big.Int).Sub(order, s).FillBytes(make([]byte, 32))...)
	beyond := append(append([]byte{}, raw[:32]...), order.Bytes()...)
	rows := []row{
		{"Ed25519 with S + L", resigned(ed, plusOrder(signatureOf(ed))), verifier.ReasonSignature},
		{"Ed25519 of zeros", resigned(ed, make([]byte, 64)), verifier.ReasonSignature},
		{"Ed25519 cut short", resigned(ed, signatureOf(ed)[:63]), verifier.ReasonSignature},
		{"Ed25519 with a byte more", resigned(ed, append(signatureOf(ed), 0)), verifier.ReasonSignature},
		{"Ed25519 of another token", resigned(ed, signatureOf(offline(t, offlineClaims.with("jti", `"2"`)))), verifier.ReasonSignature},
		{"Ed25519 by another key", forge(t, strangerKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.String()), verifier.ReasonSignature},
		{"ES256 of zeros", resigned(es, make([]byte, 64)), verifier.ReasonSignature},
		{"ES256 with r zero", resigned(es, append(make([]byte, 32), raw[32:]...)), verifier.ReasonSignature},
		{"ES256 with s of the order", resigned(es, beyond), verifier.ReasonSignature},
		{"ES256 in ASN.1", resigned(es, der), verifier.ReasonSignature},
		{"ES256 with a byte of zero more", resigned(es, append([]byte{0}, raw...)), verifier.ReasonSignature},
		// Anybody can turn s into n - s; the token is the same, and is known by its content.
		{"ES256 with n - s is the same token", resigned(es, twin), accepted},
		{"PS256 of zeros", resigned(ps, make([]byte, 256)), verifier.ReasonSignature},
		{"PS256 cut short", resigned(ps, signatureOf(ps)[:255]), verifier.ReasonSignature},
	}
	// One bit anywhere in what is signed, or in the signature.
	for _, token := range []string{ed, es, ps} {
		b := signatureOf(token)
		b[len(b)/2] ^= 1
		rows = append(rows, row{"a bit of the signature", resigned(token, b), verifier.ReasonSignature})
		p := segments(token)
		rows = append(rows, row{"another payload", p[0] + "." + b64(strings.Replace(offlineClaims.String(), "billing:read", "billing:reaD", 1)) + "." + p[2], verifier.ReasonSignature})
	}
	return rows
}

// plusOrder adds the order of the group, L, to the S of an Ed25519 signature (RFC 8032 §5.1.7: S must be below L).
func plusOrder(signature []byte) []byte {
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	reversed := func(b []byte) []byte {
		out := make([]byte, len(b))
		for i := range b {
			out[len(b)-1-i] = b[i]
		}
		return out
	}
	s := new(big.Int).SetBytes(reversed(signature[32:]))
	s.Add(s, l)
	return append(append([]byte{}, signature[:32]...), reversed(s.FillBytes(make([]byte, 32)))...)
}

// otherKindsOfTokens are good ones, signed with the right key, for something else.
func otherKindsOfTokens(t *testing.T) []row {
	assertion := claims{
		{"iss", `"orders"`}, {"sub", `"orders"`}, {"aud", `"` + platformURL + `"`}, {"iat", "1789999990"}, {"exp", "1790000100"}, {"jti", `"a1"`},
	}
	userCode := offlineClaims.with("sub", `"user|77"`)
	idToken := externalClaims.with("nonce", `"n"`).with("at_hash", `"h"`)
	return []row{
		{"a client assertion", mint(t, ordersKey, "JWT", assertion), verifier.ReasonIssuer},
		{"a client assertion by its type", mint(t, ordersKey, "client-authentication+jwt", assertion), verifier.ReasonIssuer},
		{"a client assertion that names the client's URL", mint(t, ordersKey, "JWT", assertion.with("iss", `"`+ordersURL+`"`)), verifier.ReasonClaims},
		{"a client assertion with everything but the right aud", mint(t, ordersKey, "JWT", offlineClaims.with("aud", `"`+platformURL+`"`)), verifier.ReasonAudience},
		{"a user's code", mint(t, ordersKey, "oauth-authz-req+jwt", userCode), verifier.ReasonType},
		{"a user's code as a token", mint(t, ordersKey, "at+jwt", userCode), verifier.ReasonSubject},
		{"a DPoP proof", forge(t, ordersKey, `{"typ":"dpop+jwt","alg":"EdDSA","kid":"k1"}`, `{"jti":"1","htm":"POST","htu":"https://billing.example.com","iat":1789999990}`), verifier.ReasonIssuer},
		{"a DPoP proof with the claims of a token", mint(t, ordersKey, "dpop+jwt", offlineClaims), verifier.ReasonType},
		{"an ID token of the identity provider", mint(t, loginKey, "JWT", idToken), verifier.ReasonType},
		{"an ID token for us", mint(t, loginKey, "", idToken.without("at_hash")), verifier.ReasonType},
		{"an ID token of the platform", mint(t, platformKey, "JWT", onlineClaims.with("nonce", `"n"`)), verifier.ReasonType},
		{"a logout token", mint(t, loginKey, "logout+jwt", externalClaims), verifier.ReasonType},
		{"an assertion of an issuer for assertions", mint(t, buildsKey, "JWT", externalClaims.with("iss", `"`+buildsURL+`"`)), verifier.ReasonIssuer},
	}
}

func hostileClaims(t *testing.T) []row {
	with := func(name, json string) string {
		return forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with(name, json).String())
	}
	rows := []row{
		{"aud with 10,000 entries", with("aud", `["`+billing+`"`+strings.Repeat(`,"a"`, 9_999)+`]`), verifier.ReasonMalformed},
		{"aud with 1,000 entries", with("aud", `["`+billing+`"`+strings.Repeat(`,"a"`, 999)+`]`), verifier.ReasonMalformed},
		{"arrays nested 10,000 deep", with("x", strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)), verifier.ReasonMalformed},
		{"arrays nested 1,000 deep", with("x", strings.Repeat("[", 1_000)+strings.Repeat("]", 1_000)), verifier.ReasonMalformed},
		{"objects nested 500 deep", with("x", strings.Repeat(`{"a":`, 500)+"1"+strings.Repeat("}", 500)), verifier.ReasonMalformed},
		{"arrays that do not end", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), `{"x":`+strings.Repeat("[", 5_000)), verifier.ReasonMalformed},
		{"a header nested deep", forge(t, ordersKey, `{"x":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`,"alg":"EdDSA","kid":"k1","typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonMalformed},
		{"1 MiB of dots", strings.Repeat(".", 1<<20), verifier.ReasonMalformed},
		{"8 KiB of dots", strings.Repeat(".", jws.MaxToken), verifier.ReasonMalformed},
		{"1 MiB of letters", strings.Repeat("A", 1<<20), verifier.ReasonMalformed},
		{"NUL in sub", with("sub", `"orders\u0000"`), verifier.ReasonMalformed},
		{"a bare NUL in sub", with("sub", "\"orders\x00\""), verifier.ReasonMalformed},
		{"NUL after the claims", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.String()+"\x00"), verifier.ReasonMalformed},
		{"invalid UTF-8 in sub", with("sub", "\"orders\xff\""), verifier.ReasonMalformed},
		{"invalid UTF-8 in an unknown claim", with("x", "\"\xc3\x28\""), verifier.ReasonMalformed},
		{"overlong UTF-8", with("x", "\"\xc0\xaf\""), verifier.ReasonMalformed},
		{"half a surrogate pair", with("x", `"\ud800"`), verifier.ReasonMalformed},
		{"a byte order mark", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), "\ufeff"+offlineClaims.String()), verifier.ReasonMalformed},
		{"two sets of claims", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.String()+offlineClaims.String()), verifier.ReasonMalformed},
		{"claims that are an array", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), "["+offlineClaims.String()+"]"), verifier.ReasonMalformed},
		{"claims that are null", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), "null"), verifier.ReasonMalformed},
		{"a comment in the claims", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), "/**/"+offlineClaims.String()), verifier.ReasonMalformed},
		{"an injected claim in a name", with(`x":0,"scope`, `"admin"`), accepted}, // %q escapes it: it is one odd name
	}
	for _, json := range []string{`"1790000890"`, `1e400`, `-1`, `1790000890.0`, `1.79000089e9`} {
		rows = append(rows, row{"exp " + json, with("exp", json), verifier.ReasonMalformed})
	}
	return rows
}

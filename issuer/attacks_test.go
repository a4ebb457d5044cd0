package issuer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/verifier/jws"
)

// TestAttacks has a row for every class of attack on tokens that became known elsewhere, for each way to send an assertion. Wherever
// the attacker could sign, the assertion is signed: it is refused for what it is, not because the test could not do better.
func TestAttacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newAttackedFixture(t)
		for _, k := range f.kinds() {
			f.expect(k, attack{"good", k.send(k.sign(k.header(), k.claims())), ""})
			for _, attacks := range [][]attack{f.hostileHeaders(k), f.hostileKids(k), f.hostileClaims(k), f.otherTimes(k), f.otherSignatures(k)} {
				for _, a := range attacks {
					f.expect(k, a)
				}
			}
			f.expect(k, attack{"good, after all that", k.send(k.sign(k.header(), k.claims())), ""})
		}
		f.otherSpellings()
		for _, a := range append(f.borrowedIdentities(), f.otherKindsOfTokens()...) {
			f.expect(kind{}, a)
		}
		f.bucket.put("issuer.github", `{"type":"external","status":"disabled","iss":"https://github.example","use":["assertion"]}`)
		k := f.kinds()[2]
		f.expect(k, attack{"an issuer that was disabled a moment ago", k.send(k.sign(k.header(), k.claims())), "invalid_client"})
	})
}

func (f *attacked) hostileHeaders(k kind) []attack {
	der, err := x509.MarshalPKIXPublicKey(k.key.Public())
	if err != nil {
		f.t.Fatal(err)
	}
	var attacks []attack
	for form, secret := range map[string][]byte{
		"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "the bare key": k.key.Public().(ed25519.PublicKey),
	} {
		for _, alg := range []string{"HS256", "EdDSA"} {
			input := b64([]byte(`{"alg":"`+alg+`","kid":"`+k.kid+`"}`)) + "." + b64([]byte(k.claims()))
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(input))
			attacks = append(attacks, attack{"HMAC with the public key as " + form + ", alg " + alg, k.send(input + "." + b64(mac.Sum(nil))), k.code})
		}
	}
	stranger := newPrivateKey(f.t)
	own := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, b64(stranger.Public().(ed25519.PublicKey)))
	for _, alg := range []string{"none", "None", "noNE", "", "eddsa", "ES256", "RS256", "HS512"} {
		attacks = append(attacks, attack{"alg " + alg, k.send(k.sign(`{"alg":"`+alg+`","kid":"`+k.kid+`"}`, k.claims())), k.code},
			attack{"alg " + alg + " and no signature", k.send(b64([]byte(`{"alg":"`+alg+`","kid":"`+k.kid+`"}`)) + "." + b64([]byte(k.claims())) + "."), k.code})
	}
	for name, header := range map[string]string{
		"a key in the header":      `{"alg":"EdDSA","kid":"` + k.kid + `","jwk":` + own + `}`,
		"the URL of a key":         `{"alg":"EdDSA","kid":"` + k.kid + `","jku":"https://attacker.example/keys"}`,
		"a certificate":            `{"alg":"EdDSA","kid":"` + k.kid + `","x5c":["MIIB"]}`,
		"another's key, otherwise": k.header(),
	} {
		attacks = append(attacks, attack{name, k.send(signText(header, k.claims(), stranger)), k.code})
	}
	for name, header := range map[string]string{
		"crit":            `{"alg":"EdDSA","kid":"` + k.kid + `","crit":["exp"]}`,
		"b64 false":       `{"alg":"EdDSA","kid":"` + k.kid + `","b64":false}`,
		"two algs":        `{"alg":"EdDSA","kid":"` + k.kid + `","alg":"EdDSA"}`,
		"ALG":             `{"ALG":"EdDSA","kid":"` + k.kid + `"}`,
		"an access token": `{"alg":"EdDSA","kid":"` + k.kid + `","typ":"at+jwt"}`,
		"a DPoP proof":    `{"alg":"EdDSA","kid":"` + k.kid + `","typ":"dpop+jwt"}`,
		"a user's code":   `{"alg":"EdDSA","kid":"` + k.kid + `","typ":"oauth-authz-req+jwt"}`,
		"no kid":          `{"alg":"EdDSA"}`,
		"not JSON":        `EdDSA`,
	} {
		attacks = append(attacks, attack{"header: " + name, k.send(k.sign(header, k.claims())), k.code})
	}
	return append(attacks,
		attack{"five parts", k.send(strings.Repeat("eyJhbGciOiJkaXIifQ.", 4) + "AA"), k.code},
		attack{"JSON serialization", k.send(`{"payload":"` + b64([]byte(k.claims())) + `","signatures":[{"signature":"AA"}]}`), k.code},
		attack{"8 KiB of dots", k.send(strings.Repeat(".", 8<<10)), k.code},
		attack{"1 MiB of dots", k.send(strings.Repeat(".", 1<<20)), "invalid_request"},
	)
}

func (f *attacked) hostileKids(k kind) []attack {
	attacks := []attack{
		{"a kid of 64 KiB", k.send(k.sign(`{"alg":"EdDSA","kid":"`+strings.Repeat("k", 64<<10)+`"}`, k.claims())), "invalid_request"},
		{"a kid of 4 KiB", k.send(k.sign(`{"alg":"EdDSA","kid":"`+strings.Repeat("k", 4<<10)+`"}`, k.claims())), k.code},
		{"a kid with NUL", k.send(k.sign(`{"alg":"EdDSA","kid":"`+k.kid+`\u0000"}`, k.claims())), k.code},
		{"a kid that is an array", k.send(k.sign(`{"alg":"EdDSA","kid":["`+k.kid+`"]}`, k.claims())), k.code},
		{"the platform's kid", k.send(k.sign(`{"alg":"EdDSA","kid":"`+string(f.kid())+`"}`, k.claims())), k.code},
		{"the kid of another tenant", k.send(k.sign(`{"alg":"EdDSA","kid":"s1"}`, k.claims())), k.code},
	}
	for _, kid := range []string{
		"../" + k.kid, "../../stock/s1", "../stock.s1", "./" + k.kid, k.kid + "/", "/etc/passwd", "/dev/null", "file:///dev/null", k.kid + "' OR '1'='1",
		k.kid + "'; DROP TABLE keys;--", "*", ">", "k*", "k?", k.kid + ".>", "orders." + k.kid, "key.orders." + k.kid, "b64.azE", "azE", k.kid + " ", " " + k.kid,
		"$(id)", "{{" + k.kid + "}}", "%6b1", k.kid + "\u200b", "http://attacker.example/key",
	} {
		attacks = append(attacks, attack{"kid " + kid, k.send(k.sign(fmt.Sprintf(`{"alg":"EdDSA","kid":%q}`, kid), k.claims())), k.code})
	}
	return attacks
}

func (f *attacked) hostileClaims(k kind) []attack {
	var attacks []attack
	add := func(name, payload string) {
		attacks = append(attacks, attack{name, k.send(k.sign(k.header(), payload)), k.code})
	}
	for _, value := range []string{`"` + fmt.Sprint(time.Now().Unix()+60) + `"`, "1e400", "-1", "1790000890.5", "1.79000089e9", "9007199254740993", "null", "true", "[1]", "0"} {
		add("exp "+value, with(k.claims(), "exp", value))
		if value != "0" {
			add("iat "+value, with(k.claims(), "iat", value))
			add("nbf "+value, with(k.claims(), "nbf", value))
		}
	}
	add("two subs", strings.TrimSuffix(k.claims(), "}")+`,"sub":"stock"}`)
	add("two subs, one escaped", strings.TrimSuffix(k.claims(), "}")+`,"s\u0075b":"stock"}`)
	add("two iss", strings.TrimSuffix(k.claims(), "}")+`,"iss":"stock"}`)
	add("aud with 10,000 entries", with(k.claims(), "aud", `["`+testIssuer+`"`+strings.Repeat(`,"a"`, 9_999)+`]`))
	add("aud with 1,000 entries", with(k.claims(), "aud", `["`+testIssuer+`"`+strings.Repeat(`,"a"`, 999)+`]`))
	add("an empty aud", with(k.claims(), "aud", `[]`))
	add("an aud in an aud", with(k.claims(), "aud", `[["`+testIssuer+`"]]`))
	add("arrays nested 10,000 deep", with(k.claims(), "x", strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)))
	add("arrays nested 1,000 deep", with(k.claims(), "x", strings.Repeat("[", 1_000)+strings.Repeat("]", 1_000)))
	add("arrays that do not end", `{"x":`+strings.Repeat("[", 5_000))
	add("NUL in sub", with(k.claims(), "sub", `"orders\u0000"`))
	add("a bare NUL", k.claims()+"\x00")
	add("invalid UTF-8 in sub", with(k.claims(), "sub", "\"orders\xff\""))
	add("invalid UTF-8 elsewhere", with(k.claims(), "x", "\"\xc3\x28\""))
	add("half a surrogate pair", with(k.claims(), "x", `"\ud800"`))
	add("a line break in jti", with(k.claims(), "jti", `"a\nb"`))
	add("two sets of claims", k.claims()+k.claims())
	add("null", "null")
	add("ISS", strings.Replace(k.claims(), `"iss"`, `"ISS"`, 1))
	return attacks
}

// otherTimes are around the edges of what clocks may differ by.
func (f *attacked) otherTimes(k kind) []attack {
	var attacks []attack
	now := time.Now().Unix()
	add := func(name string, iat, exp, nbf int64, code string) {
		payload := with(with(with(k.claims(), "iat", fmt.Sprint(now+iat)), "exp", fmt.Sprint(now+exp)), "nbf", fmt.Sprint(now+nbf))
		attacks = append(attacks, attack{name, k.send(k.sign(k.header(), payload)), code})
	}
	life := int64(k.life / time.Second)
	add("expired 29 s ago", -60, -29, -60, "")
	add("expired 30 s ago", -60, -30, -60, k.code)
	add("made in 30 s", 30, 60, 30, "")
	add("made in 31 s", 31, 60, 0, k.code)
	add("valid in 31 s", 0, 60, 31, k.code)
	add("the longest life", 0, life, 0, "")
	add("a second more", 0, life+1, 0, k.code)
	add("the longest life, from the future", 30, 30+life, 0, "")
	return attacks
}

func (f *attacked) otherSignatures(k kind) []attack {
	resigned := func(token string, change func([]byte) []byte) *http.Request {
		at := strings.LastIndexByte(token, '.') + 1
		signature, err := base64.RawURLEncoding.DecodeString(token[at:])
		if err != nil {
			f.t.Fatal(err)
		}
		return k.send(token[:at] + b64(change(signature)))
	}
	good := func() string { return k.sign(k.header(), k.claims()) }
	var attacks []attack
	for i, other := range otherLastCharacters(f.t, good()) {
		attacks = append(attacks, attack{fmt.Sprintf("trailing bits %04b", i+1), k.send(other), k.code})
	}
	return append(attacks, []attack{
		{"S + L", resigned(good(), plusOrder), k.code},
		{"a signature of zeros", resigned(good(), func([]byte) []byte { return make([]byte, 64) }), k.code},
		{"a byte less", resigned(good(), func(s []byte) []byte { return s[:63] }), k.code},
		{"a byte more", resigned(good(), func(s []byte) []byte { return append(s, 0) }), k.code},
		{"another bit", resigned(good(), func(s []byte) []byte { s[32] ^= 1; return s }), k.code},
		{"padding", k.send(good() + "=="), k.code},
		{"a line break", k.send(good() + "\n"), k.code},
	}...)
}

// otherSpellings sends an assertion that was used in all other ways in which it could be written: none is a new one.
func (f *attacked) otherSpellings() {
	k := f.kinds()[0]
	used := k.sign(k.header(), k.claims())
	f.expect(k, attack{"the first use", k.send(used), ""})
	f.expect(k, attack{"the second", k.send(used), k.code})
	f.expect(k, attack{"the second, with padding", k.send(used + "=="), k.code})
	for i, other := range otherLastCharacters(f.t, used) {
		f.expect(k, attack{fmt.Sprintf("the second, with trailing bits %04b", i+1), k.send(other), k.code})
	}
	// Anybody can turn s into n - s: it is another text with a good signature, and the same jti.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	f.bucket.put("key.orders.e1", encodeKey(f.t, "e1", events.Key{Algorithm: events.ES256, Public: key.Public()}))
	signed, err := jws.Sign(jws.Header{Algorithm: jws.ES256, KeyID: "e1"}, []byte(k.claims()), key)
	if err != nil {
		f.t.Fatal(err)
	}
	token, err := jws.Parse(signed)
	if err != nil {
		f.t.Fatal(err)
	}
	s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(token.Signature()[32:]))
	twin := string(token.SigningInput()) + "." + b64(append(token.Signature()[:32:32], s.FillBytes(make([]byte, 32))...))
	f.expect(k, attack{"ES256 with n - s", k.send(twin), ""})
	f.expect(k, attack{"ES256 with s, after that", k.send(signed), k.code})
}

// borrowedIdentities are those of others, and the plain text "I am service X".
func (f *attacked) borrowedIdentities() []attack {
	own, grant := f.kinds()[0], f.kinds()[1]
	as := func(k kind, iss, sub string) *http.Request {
		return k.send(k.sign(k.header(), with(with(k.claims(), "iss", fmt.Sprintf("%q", iss)), "sub", fmt.Sprintf("%q", sub))))
	}
	attacks := []attack{
		{"I am service X", tokenRequestWith("grant_type", "client_credentials", "client_id", "orders"), "invalid_client"},
		{"I am service X, and this is my empty secret", tokenRequestWith("grant_type", "client_credentials", "client_id", "orders", "client_secret", ""), "invalid_client"},
		{"I am service X, as a grant", tokenRequestWith("grant_type", grantJWTBearer, "client_id", "orders"), "invalid_request"},
		{"another client, with an own key", as(own, "stock", "stock"), "invalid_client"},
		{"another client, with an own key, as a grant", as(grant, "stock", "stock"), "invalid_grant"},
		{"another client's key", own.send(signText(`{"alg":"EdDSA","kid":"s1"}`, own.claims(), f.stock)), "invalid_client"},
		{"an own key under another client's kid", own.send(own.sign(`{"alg":"EdDSA","kid":"s1"}`, with(with(own.claims(), "iss", `"stock"`), "sub", `"stock"`))), "invalid_client"},
		{"iss is the platform", as(own, testIssuer, "orders"), "invalid_client"},
		{"iss is the platform, as a grant", as(grant, testIssuer, "orders"), "invalid_grant"},
		{"iss and sub are the platform's name", as(own, "platform", "platform"), "invalid_client"},
		{"iss and sub are the external issuer's name", as(own, "github", "github"), "invalid_client"},
		{"an external issuer's key and a client's name", own.send(signText(`{"alg":"EdDSA","kid":"g1"}`, own.claims(), f.github)), "invalid_client"},
		{"a user", as(grant, "orders", "user|77"), "invalid_grant"},
	}
	for _, path := range []string{"orders", "stock", "%6Frders", "orders%2F", "stock%2F..%2Forders", "stock/../orders", "orders/", "ORDERS", ""} {
		iss := testIssuer + "/v1/clients/" + path
		for _, sub := range []string{"orders", iss} {
			attacks = append(attacks, attack{"iss " + iss + ", sub " + sub, withAssertion(own.sign(own.header(),
				with(with(own.claims(), "iss", fmt.Sprintf("%q", iss)), "sub", fmt.Sprintf("%q", sub))), "client_id", "orders"), "invalid_client"},
				attack{"as a grant: iss " + iss + ", sub " + sub, as(grant, iss, sub), "invalid_grant"})
		}
	}
	return attacks
}

// otherKindsOfTokens are good ones, signed with the right key, for something else.
func (f *attacked) otherKindsOfTokens() []attack {
	own, federated := f.kinds()[0], f.kinds()[2]
	online := f.token(withAssertion(own.sign(own.header(), own.claims()), "resource", "https://billing")).AccessToken
	var offline []string
	for _, audience := range []string{"https://billing", testIssuer, testIssuer + pathToken} {
		token, err := f.minter().Token(mint.Request{Audience: []string{audience}, TTL: time.Minute})
		if err != nil {
			f.t.Fatal(err)
		}
		offline = append(offline, token)
	}
	clientAssertion, err := f.minter().Assertion("")
	if err != nil {
		f.t.Fatal(err)
	}
	dpop := signText(`{"typ":"dpop+jwt","alg":"EdDSA","kid":"k1"}`, `{"jti":"1","htm":"POST","htu":"`+testIssuer+pathToken+`","iat":`+fmt.Sprint(time.Now().Unix())+`}`, f.private)
	idToken := federated.sign(federated.header(), with(with(federated.claims(), "aud", `"the-app"`), "nonce", `"n"`))
	attacks := []attack{
		{"a client assertion as a grant", withGrant(clientAssertion), "invalid_grant"},
		{"a DPoP proof", withAssertion(dpop), "invalid_client"},
		{"a DPoP proof as a grant", withGrant(dpop), "invalid_grant"},
		{"an ID token for an app", federated.send(idToken), "invalid_client"},
		{"an ID token as a grant", withGrant(idToken), "invalid_grant"},
		{"an access token of the external issuer", federated.send(federated.sign(`{"alg":"EdDSA","kid":"g1","typ":"at+jwt"}`, federated.claims())), "invalid_client"},
		{"a token that is bound to a key", federated.send(federated.sign(federated.header(), with(federated.claims(), "cnf", `{"jkt":"x"}`))), "invalid_client"},
		{"a federated assertion as a grant", withGrant(federated.sign(federated.header(), federated.claims()), "client_id", "orders"), "invalid_grant"},
		{"an API key as an assertion", withAssertion(f.apiKey.Reveal()), "invalid_client"},
		{"an assertion as an API key", tokenRequestWith("grant_type", "client_credentials", "client_secret", clientAssertion), "invalid_client"},
	}
	for _, token := range append(offline, online) {
		attacks = append(attacks,
			attack{"an access token", withAssertion(token), "invalid_client"},
			attack{"an access token beside a client_id", withAssertion(token, "client_id", "orders"), "invalid_client"},
			attack{"an access token as a grant", withGrant(token), "invalid_grant"},
			attack{"an access token as an API key", tokenRequestWith("grant_type", "client_credentials", "client_secret", token), "invalid_client"})
	}
	return attacks
}

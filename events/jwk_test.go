package events

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"
)

// The keys of RFC 8037 A.2, RFC 7515 A.3.1 and RFC 7638 §3.1.
const (
	edX  = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	ed   = `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"}`
	ecX  = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
	ecY  = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
	ec   = `{"kty":"EC","crv":"P-256","x":"` + ecX + `","y":"` + ecY + `"}`
	rsaN = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5" +
		"JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt" +
		"-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	rs = `{"kty":"RSA","alg":"RS256","n":"` + rsaN + `","e":"AQAB"}`
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// publicFromParts makes a key of its members, by the standard library alone.
func publicFromParts(t *testing.T, kty string, x, y, n, e []byte) crypto.PublicKey {
	t.Helper()
	switch kty {
	case "OKP":
		return ed25519.PublicKey(x)
	case "EC":
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			t.Fatal(err)
		}
		return key
	case "RSA":
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	t.Fatalf("kty %s", kty)
	return nil
}

// rsaJSON is an RSA key with a modulus of the given size, its lowest byte given, and an exponent.
func rsaJSON(bits int, low byte, e string) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	n.Add(n, big.NewInt(int64(low)))
	return with(rs, "n", `"`+b64(n.Bytes())+`"`, "e", `"`+e+`"`)
}

func TestKeysThatAreAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		record string
		want   Algorithm
	}{
		"Ed25519":                           {ed, EdDSA},
		"Ed25519 that says EdDSA":           {with(ed, "alg", `"EdDSA"`), EdDSA},
		"Ed25519 by its name of RFC 9864":   {with(ed, "alg", `"Ed25519"`), EdDSA},
		"P-256":                             {ec, ES256},
		"P-256 that says ES256":             {with(ec, "alg", `"ES256"`), ES256},
		"RSA for RS256":                     {rs, RS256},
		"RSA for PS256":                     {with(rs, "alg", `"PS256"`), PS256},
		"RSA of 2048 bits":                  {rsaJSON(2048, 1, "AQAB"), RS256},
		"RSA of 2049 bits":                  {rsaJSON(2049, 1, "AQAB"), RS256},
		"RSA of 8192 bits":                  {rsaJSON(8192, 1, "AQAB"), RS256},
		"RSA with e = 3":                    {rsaJSON(2048, 1, "Aw"), RS256},
		"RSA with e = 2^31-1":               {rsaJSON(2048, 1, "f____w"), RS256},
		"a key for signatures":              {with(ed, "use", `"sig"`), EdDSA},
		"a key whose operation is verify":   {with(ed, "key_ops", `["verify"]`), EdDSA},
		"a key that may sign and verify":    {with(ed, "key_ops", `["sign","verify"]`), EdDSA},
		"a key with its kid":                {with(ed, "kid", `"k1"`), EdDSA},
		"a key with a certificate, ignored": {with(ed, "x5c", `["AAAA"]`, "x5u", `"https://a"`), EdDSA},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParseKey("k1", []byte(c.record))
			if err != nil {
				t.Fatal(err)
			}
			if k.Algorithm != c.want {
				t.Fatalf("alg %s, want %s", k.Algorithm, c.want)
			}
			if err := CheckPublicKey(k.Algorithm, k.Public); err != nil {
				t.Fatalf("ParseKey takes what CheckPublicKey refuses: %v", err)
			}
		})
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, record, want string }{
		{"no kty", `{"crv":"Ed25519","x":"` + edX + `"}`, "kty is missing"},
		{"an empty kty", with(ed, "kty", `""`), `"kty": empty`},
		{"an unknown kty", with(ed, "kty", `"AKP"`), `kty "AKP" is not`},
		{"a kty in lower case", with(ed, "kty", `"okp"`), `kty "okp" is not`},
		{"a kty of a number", with(ed, "kty", `1`), `"kty": not a string`},
		{"a symmetric key", `{"kty":"oct","k":"AAAA"}`, "symmetric"},
		{"a symmetric key without k", `{"kty":"oct"}`, "symmetric"},
		{"a symmetric key in escapes", `{"k\u0074y":"o\u0063t","k":"AAAA"}`, "symmetric"},

		{"OKP without crv", with(ed, "crv", ""), `crv ""`},
		{"X25519", with(ed, "crv", `"X25519"`), "is not Ed25519"},
		{"Ed448", with(ed, "crv", `"Ed448"`), "is not Ed25519"},
		{"OKP without x", with(ed, "x", ""), "x has 0 bytes"},
		{"an x of a number", with(ed, "x", `1`), `"x": not a string`},
		{"an x of 31 bytes", with(ed, "x", `"`+b64(make([]byte, 31))+`"`), "x has 31 bytes"},
		{"an x of 33 bytes", with(ed, "x", `"`+b64(make([]byte, 33))+`"`), "x has 33 bytes"},
		{"an x with padding", with(ed, "x", `"`+edX+`="`), "base64url"},
		{"an x with bits left over", with(ed, "x", `"`+edX[:42]+`p"`), "base64url"},
		{"an x with a line break", with(ed, "x", `"`+edX[:20]+`\n`+edX[20:]+`"`), "base64url"},
		{"an x of the other alphabet", with(ed, "x", `"`+strings.ReplaceAll(edX, "_", "/")+`"`), "base64url"},
		{"an x off the curve", with(ed, "x", `"`+offCurve(t)+`"`), "not a point on the curve"},
		{"alg ES256 for Ed25519", with(ed, "alg", `"ES256"`), "is not EdDSA"},
		{"alg eddsa", with(ed, "alg", `"eddsa"`), "is not EdDSA"},
		{"alg none", with(ed, "alg", `"none"`), "is not EdDSA"},
		{"alg HS256 for Ed25519", with(ed, "alg", `"HS256"`), "is not EdDSA"},
		{"an empty alg", with(ed, "alg", `""`), `"alg": empty`},
		{"an alg of null", with(ed, "alg", `null`), `"alg": not a string`},
		{"Ed25519 with y", with(ed, "y", `"AAAA"`), "more than one type"},
		{"Ed25519 with n", with(ed, "n", `"AAAA"`), "more than one type"},

		{"EC without crv", with(ec, "crv", ""), `crv ""`},
		{"P-384", with(ec, "crv", `"P-384"`), "is not P-256"},
		{"secp256k1", with(ec, "crv", `"secp256k1"`), "is not P-256"},
		{"EC without y", with(ec, "y", ""), "coordinates of 32 and 0 bytes"},
		{"EC with a short x", with(ec, "x", `"`+b64(make([]byte, 31))+`"`), "coordinates of 31 and 32 bytes"},
		{"EC with a long y", with(ec, "y", `"`+b64(make([]byte, 33))+`"`), "coordinates of 32 and 33 bytes"},
		{"EC off the curve", with(ec, "y", `"`+ecX+`"`), "not on the curve P-256"},
		{"EC at zero", with(ec, "x", `"`+b64(make([]byte, 32))+`"`, "y", `"`+b64(make([]byte, 32))+`"`), "not on the curve P-256"},
		{"EC with x beyond the field", with(ec, "x", `"`+b64(slices.Repeat([]byte{255}, 32))+`"`), "not on the curve P-256"},
		{"alg ES384 for P-256", with(ec, "alg", `"ES384"`), "is not ES256"},
		{"alg EdDSA for P-256", with(ec, "alg", `"EdDSA"`), "is not ES256"},
		{"EC with e", with(ec, "e", `"AQAB"`), "more than one type"},

		{"RSA without alg", with(rs, "alg", ""), "must say which"},
		{"alg RS512", with(rs, "alg", `"RS512"`), "must say which"},
		{"alg RSA1_5", with(rs, "alg", `"RSA1_5"`), "must say which"},
		{"alg ES256 for RSA", with(rs, "alg", `"ES256"`), "must say which"},
		{"RSA of 1024 bits", rsaJSON(1024, 1, "AQAB"), "2048 to 8192"},
		{"RSA of 2047 bits", rsaJSON(2047, 1, "AQAB"), "2048 to 8192"},
		{"RSA of 8193 bits", rsaJSON(8193, 1, "AQAB"), "8192 bits"},
		{"an even modulus", rsaJSON(2048, 2, "AQAB"), "odd"},
		{"e = 0", rsaJSON(2048, 1, "AA"), "shortest form"},
		{"e = 1", rsaJSON(2048, 1, "AQ"), "from 3"},
		{"e = 2", rsaJSON(2048, 1, "Ag"), "from 3"},
		{"an even e", rsaJSON(2048, 1, "AQAA"), "odd"},
		{"e with a leading zero", rsaJSON(2048, 1, "AAEAAQ"), "shortest form"},
		{"e = 2^31+1", rsaJSON(2048, 1, "gAAAAQ"), "2^31-1"},
		{"e of 40 bits", rsaJSON(2048, 1, "AQAAAAE"), "32 bits"},
		{"RSA without e", with(rs, "e", ""), "shortest form"},
		{"RSA without n", with(rs, "n", ""), "shortest form"},
		{"n with a leading zero byte", with(rs, "n", `"`+b64(append([]byte{0}, slices.Repeat([]byte{255}, 256)...))+`"`), "shortest form"},
		{"RSA with crv", with(rs, "crv", `"Ed25519"`), "more than one type"},
		{"RSA with x", with(rs, "x", `"AAAA"`), "more than one type"},

		{"use enc", with(ed, "use", `"enc"`), "only keys for signatures"},
		{"use of a list", with(ed, "use", `["sig"]`), `"use": not a string`},
		{"an empty use", with(ed, "use", `""`), `"use": empty`},
		{"key_ops without verify", with(ed, "key_ops", `["sign"]`), `"key_ops": only keys`},
		{"empty key_ops", with(ed, "key_ops", `[]`), `"key_ops": only keys`},
		{"key_ops of a string", with(ed, "key_ops", `"verify"`), `"key_ops": not an array`},
		{"an operation twice", with(ed, "key_ops", `["verify","verify"]`), "twice"},
		{"another kid", with(ed, "kid", `"k2"`), `kid "k2" is not the one in the record's name, "k1"`},
		{"a kid in capitals", with(ed, "kid", `"K1"`), `kid "K1"`},
		{"an empty kid", with(ed, "kid", `""`), `"kid": empty`},
		{"a kid of a number", with(ed, "kid", `1`), `"kid": not a string`},
		{"a set of keys", `{"keys":[` + ed + `]}`, "kty is missing"},
		{"a list of keys", `[` + ed + `]`, "not an object"},
		{"a key in quotes", `"` + edX + `"`, "not an object"},
	} {
		t.Run("refused: "+c.name, func(t *testing.T) {
			k, err := ParseKey("k1", []byte(c.record))
			checkRefused(t, err, c.want)
			if k != nil {
				t.Fatal("an error and a key")
			}
		})
	}
}

// offCurve is the first x that no point has.
func offCurve(t *testing.T) string {
	for i := range byte(255) {
		x := append([]byte{i}, make([]byte, 31)...)
		if _, err := new(edwards25519.Point).SetBytes(x); err != nil {
			return b64(x)
		}
	}
	t.Fatal("every point is on the curve")
	return ""
}

func TestEveryPrivateMemberRaisesTheAlarm(t *testing.T) {
	records := map[string][]string{
		ed: {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"},
		ec: {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"},
		rs: {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"},
		`{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"}`: {"priv"},
	}
	for record, private := range records {
		for _, name := range private {
			for _, value := range []string{`"AAAA"`, `""`, `null`, `[]`, `1`} {
				_, err := ParseKey("k1", []byte(with(record, name, value)))
				if err == nil || !strings.Contains(err.Error(), "a private key was put in a public bucket: revoke it") {
					t.Errorf("%s of %s in %.30s…: %v", name, value, record, err)
				}
			}
		}
	}
}

// The alarm matters more than whatever else is wrong, and than the wrapping that the key is in.
func TestNothingHidesAPrivateKey(t *testing.T) {
	private := with(ed, "d", `"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"`)
	for name, value := range map[string]string{
		"another kid":                 with(private, "kid", `"k2"`),
		"a use of enc":                with(private, "use", `"enc"`),
		"a wrong type before it":      `{"alg":1,` + private[1:],
		"a bad window":                with(private, "nbf", `5`, "exp", `4`),
		"an unknown kty":              with(private, "kty", `"XYZ"`),
		"escapes":                     strings.Replace(private, `"d"`, `"\u0064"`, 1),
		"a set of keys":               `{"keys":[` + private + `]}`,
		"a broken object":             private[:len(private)-1],
		"PEM":                         "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n",
		"PEM of OpenSSL":              "-----BEGIN EC PRIVATE KEY-----\nMC4CAQAw\n-----END EC PRIVATE KEY-----\n",
		"an access key":               goldenAccessKey,
		"an access key in a string":   `"` + goldenAccessKey + `"`,
		"an access key in the record": with(ed, "kid", `"`+goldenAccessKey+`"`),
	} {
		_, err := ParseKey("k1", []byte(value))
		if err == nil || err.Error() != errPrivate.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSmallOrderPointsAreRefused(t *testing.T) {
	raw, err := hex.DecodeString("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
	if err != nil {
		t.Fatal(err)
	}
	generator, err := new(edwards25519.Point).SetBytes(raw) // of order 8
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	point := edwards25519.NewIdentityPoint()
	for range 8 {
		key := point.Bytes()
		seen[string(key)] = true
		checkRefused(t, CheckPublicKey(EdDSA, ed25519.PublicKey(key)), "small order")
		_, err := ParseKey("k1", []byte(with(ed, "x", `"`+b64(key)+`"`)))
		checkRefused(t, err, "small order")
		point.Add(point, generator)
	}
	if len(seen) != 8 {
		t.Fatalf("%d points of small order, want 8", len(seen))
	}
}

// A y coordinate has a second encoding if it is less than 19: p + y. With either sign that makes 38 encodings, of
// which those that are points must be refused. And x = 0 has no sign.
func TestNonCanonicalPointsAreRefused(t *testing.T) {
	points := 0
	for y := range byte(19) {
		for _, sign := range []byte{0x7f, 0xff} {
			key := slices.Repeat([]byte{0xff}, 32)
			key[0], key[31] = 0xed+y, sign
			if _, err := new(edwards25519.Point).SetBytes(key); err == nil {
				points++
			}
			if err := CheckPublicKey(EdDSA, ed25519.PublicKey(key)); err == nil {
				t.Errorf("%x is accepted", key)
			}
			if isReduced(key) {
				t.Errorf("%x counts as reduced", key)
			}
		}
	}
	if points < 10 {
		t.Errorf("only %d of the encodings are points: the test tests little", points)
	}
	largest := slices.Repeat([]byte{0xff}, 32)
	largest[0], largest[31] = 0xec, 0x7f // p - 1
	if !isReduced(largest) {
		t.Error("p - 1 does not count as reduced")
	}
	for _, text := range []string{ // y = 1 and y = -1 with the sign of x = 0
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		key, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckPublicKey(EdDSA, ed25519.PublicKey(key)); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// isReduced is a comparison with p, which math/big does, too. The numbers near p are where it could go wrong.
func TestReducedIsLessThanP(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	check := func(key []byte) {
		t.Helper()
		y := slices.Clone(key)
		y[31] &= 0x7f
		slices.Reverse(y)
		if want := new(big.Int).SetBytes(y).Cmp(p) < 0; isReduced(key) != want {
			t.Errorf("%x: reduced %v, want %v", key, !want, want)
		}
	}
	for low := range 256 {
		for _, last := range []byte{0x7f, 0xff, 0x7e, 0xfe, 0, 0x80} {
			key := slices.Repeat([]byte{0xff}, 32)
			key[0], key[31] = byte(low), last
			check(key)
			for i := 1; i < 31; i++ {
				key[i] = 0xfe
				check(key)
				key[i] = 0xff
			}
		}
	}
}

// What isReduced says must be what encoding the point again says.
func TestReducedIsWhatEncodingAgainGives(t *testing.T) {
	for n := range 2000 {
		key := publicKey(n)
		point, err := new(edwards25519.Point).SetBytes(key)
		if err != nil {
			t.Fatal(err)
		}
		if again := slices.Equal(point.Bytes(), key); again != isReduced(key) {
			t.Fatalf("%x: %v", key, again)
		}
	}
}

func TestKeysMadeByOurCodeAreCheckedToo(t *testing.T) {
	p384 := &ecdsa.PublicKey{Curve: elliptic.P384()}
	for name, c := range map[string]struct {
		alg  Algorithm
		key  crypto.PublicKey
		want string
	}{
		"no key":                       {EdDSA, nil, "is not Ed25519, P-256 or RSA"},
		"an Ed25519 key of 31 bytes":   {EdDSA, ed25519.PublicKey(make([]byte, 31)), "31 bytes"},
		"a private key":                {EdDSA, ed25519.NewKeyFromSeed(make([]byte, 32)), "is not Ed25519, P-256 or RSA"},
		"Ed25519 with another alg":     {ES256, publicKey(1), "is not EdDSA"},
		"Ed25519 with the alg Ed25519": {"Ed25519", publicKey(1), "is not EdDSA"},
		"P-384":                        {ES256, p384, "must be on the curve P-256"},
		"no ECDSA key":                 {ES256, (*ecdsa.PublicKey)(nil), "must be on the curve P-256"},
		"no RSA key":                   {RS256, (*rsa.PublicKey)(nil), "2048"},
		"an RSA key without a modulus": {RS256, &rsa.PublicKey{E: 65537}, "2048"},
		"an RSA key with another alg":  {EdDSA, &rsa.PublicKey{N: big.NewInt(1), E: 3}, "must say which"},
		"an RSA key that is too small": {PS256, &rsa.PublicKey{N: big.NewInt(15), E: 3}, "2048"},
		"an RSA key by value":          {RS256, rsa.PublicKey{}, "is not Ed25519, P-256 or RSA"},
		"a slice of bytes of 32":       {EdDSA, make([]byte, 32), "is not Ed25519, P-256 or RSA"},
		"a function, for what it is":   {EdDSA, func() {}, "is not Ed25519, P-256 or RSA"},
		"a text that looks like a key": {EdDSA, edX, "is not Ed25519, P-256 or RSA"},
		"a large exponent":             {RS256, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2047, 1), E: 1 << 31}, "2^31-1"},
		"a modulus of too many bits":   {RS256, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 3}, "8192"},
		"an exponent that is negative": {RS256, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2047, 1), E: -3}, "from 3"},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefused(t, CheckPublicKey(c.alg, c.key), c.want)
			if _, err := (&Key{Algorithm: c.alg, Public: c.key}).Encode("k1"); err == nil {
				t.Fatal("it is written")
			}
		})
	}
}

// A second record with the same public key is not checked again; nothing else may get through on that way.
func TestAKeyThatIsAlreadyThereIsSharedAndNoOtherIs(t *testing.T) {
	before, err := parseKey("k1", []byte(keyJSON(1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseKey("k1", []byte(keyJSON(1, `"exp":1795000000`)), before)
	if err != nil {
		t.Fatal(err)
	}
	if &after.Public.(ed25519.PublicKey)[0] != &before.Public.(ed25519.PublicKey)[0] {
		t.Error("the key is there twice")
	}
	if after.Expires != 1795000000 || before.Expires != 0 {
		t.Error("the records got mixed up")
	}
	for _, x := range []string{b64(make([]byte, 32)), offCurve(t)} {
		if _, err := parseKey("k1", []byte(with(ed, "x", `"`+x+`"`)), before); err == nil {
			t.Errorf("%s is accepted after a good key", x)
		}
	}
	other, err := parseKey("k1", []byte(keyJSON(2)), before)
	if err != nil || !other.Public.(ed25519.PublicKey).Equal(publicKey(2)) {
		t.Errorf("another key becomes %v, %v", other, err)
	}
	if _, err := parseKey("k1", []byte(rs), before); err != nil {
		t.Errorf("an RSA key after an Ed25519 key: %v", err)
	}
	wrong := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","alg":"ES256","x":"%s"}`, b64(publicKey(1)))
	if _, err := parseKey("k1", []byte(wrong), before); err == nil {
		t.Error("the same key with a wrong alg is accepted")
	}
}

package bench

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
	mrand "math/rand/v2"
	"slices"
	"strings"
)

// object is a JSON object as a list of names and JSON texts, so that it can be wrong in every way.
type object [][2]string

func (o object) String() string {
	parts := make([]string, len(o))
	for i, m := range o {
		parts[i] = quote(m[0]) + ":" + m[1]
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// set replaces a member or adds it.
func (o *object) set(name, json string) {
	for i := range *o {
		if (*o)[i][0] == name {
			(*o)[i][1] = json
			return
		}
	}
	*o = append(*o, [2]string{name, json})
}

// candidate is a token in the making.
type candidate struct {
	r               *mrand.Rand
	w               *world
	header, payload object
	signer          *key
	alg             string // by which it is signed
	did             []string
}

func pick[T any](r *mrand.Rand, from []T) T { return from[r.IntN(len(from))] }

// newCandidate begins with a valid token.
func newCandidate(w *world, r *mrand.Rand) *candidate {
	k := pick(r, w.list)
	if k.alg == "RS256" || k.alg == "PS256" { // they take long to sign: less often
		k = pick(r, w.list)
	}
	return &candidate{r: r, w: w, header: goodHeader(k), payload: goodClaims(k), signer: k, alg: k.alg}
}

// token mutates the candidate, first what it says, then, after it was signed, how it is written.
func (c *candidate) token() string {
	for range c.r.IntN(3) {
		c.mutateContent()
	}
	h, p := c.header.String(), c.payload.String()
	switch c.r.IntN(8) {
	case 0:
		h = c.mutateText("header", h)
	case 1:
		p = c.mutateText("payload", p)
	}
	token := compact(c.signer, c.alg, h, p)
	if c.r.IntN(4) == 0 {
		token = c.mutateToken(token)
	}
	return token
}

func (c *candidate) note(format string, args ...any) {
	c.did = append(c.did, fmt.Sprintf(format, args...))
}

var (
	algValues = []string{`"EdDSA"`, `"Ed25519"`, `"ES256"`, `"RS256"`, `"PS256"`, `"none"`, `"HS256"`, `"eddsa"`, `"ES384"`, `""`, `null`, `1`, `["EdDSA"]`, `"\u0045dDSA"`}
	typValues = []string{`"at+jwt"`, `"AT+JWT"`, `"application/at+jwt"`, `"JWT"`, `"jwt"`, `"dpop+jwt"`, `"id+jwt"`, `""`, `null`, `1`, `"at+jw\u0074"`}
	headers   = map[string][]string{
		"alg": algValues, "typ": typValues,
		"kid":  {`"k1"`, `"es"`, `"rs"`, `"ps"`, `"s1"`, `"p1"`, `"x1"`, `"K1"`, `"k1 "`, `""`, `null`, `1`, `["k1"]`, `"\u006b1"`, `"../k1"`},
		"crit": {`["exp"]`, `["b64"]`, `[]`, `null`, `"b64"`, `["alg"]`, `[1]`}, "b64": {`false`, `true`, `null`, `"false"`},
		"jwk": {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, `{}`, `null`, `1`}, "jku": {`"https://attacker.example/keys"`, `1`},
		"x5c": {`["MIIB"]`, `[]`, `null`}, "x5u": {`"https://attacker.example/cert"`}, "cty": {`"JWT"`, `1`}, "zip": {`"DEF"`}, "enc": {`"A128GCM"`},
		"ALG": algValues, "Typ": typValues, "nonce": {`"n"`, `1`}, "iss": {`"x"`}, "x": {`1`, `[[[[[[[[[[1]]]]]]]]]]`, `"\ud800"`, `{"a":1,"a":2}`},
	}
	times = []string{
		"1790000000", "1789999970", "1789999971", "1789999969", "1790000030", "1790000031", "1790000029", "1", "0", "-1", "-0", "1790003590", "1790003591", "1790000890.0",
		"1790000890.5", "1.79000089e9", "1790000890e0", "17900008900e-1", `"1790000890"`, "1e400", "9007199254740991", "9007199254740993", "9223372036854775807", "9223372036854775808",
		"99999999999999999999999", "null", "true", "[]", "{}", "1e19", "-1e19", "1790000890E+0", "1789999970.4", "1789999969.6",
	}
	identifiers = []string{`"orders"`, `"shipping"`, `"user|77"`, `"Orders"`, `"orders "`, `""`, `null`, `1`, `["orders"]`, `"order\u0073"`, `"orders\u0000"`, `"\ud800"`, `{}`}
	members     = map[string][]string{
		"iss": {quote(platformURL), quote(clientURL("orders")), quote(clientURL("shipping")), quote(loginURL), quote(clientURL("orders") + "/"), quote(clientURL("%6frders")),
			quote(strings.ToUpper(platformURL)), `""`, `null`, `1`, `["` + platformURL + `"]`, `"https:\/\/auth.example.com"`},
		"sub": identifiers, "client_id": identifiers, "jti": identifiers,
		"aud": {quote(billing), `["` + billing + `"]`, `["x","` + billing + `"]`, `["` + billing + `","` + billing + `"]`, `"x"`, `[]`, `""`, `null`, `1`, `["` + billing + `",1]`, `["` + billing + `",null]`,
			`{"a":"` + billing + `"}`, `[["` + billing + `"]]`, `"` + billing + `/"`, `"` + strings.ToUpper(billing) + `"`, `"https:\/\/billing.example.com"`, `["` + billing + `"` + strings.Repeat(`,"`+billing+`"`, 16) + `]`},
		"exp": times, "nbf": times, "iat": times,
		"scope": {`"billing:read"`, `"openid"`, `""`, `"admin"`, `" "`, `"a  b"`, `["billing:read"]`, `null`, `1`, `"a\tb"`, `"é"`}, "scopes": {`["openid"]`, `"openid"`, `[]`, `1`, `["a b"]`},
		"cnf": {`{"jkt":"x"}`, `null`, `1`}, "nonce": {`"n"`}, "at_hash": {`"h"`}, "token_use": {`"access"`, `"id"`, `1`},
		"ISS": {`"x"`}, "Sub": {`"shipping"`}, "AUD": {`"x"`, quote(billing)}, "Exp": times, "EXP": times, "NBF": times, "IAT": times, "ſub": {`"x"`}, "": {`1`},
		"x": {`[[[[[[[[[[1]]]]]]]]]]`, `"\ud800"`, `{"a":1,"a":2}`, `"` + strings.Repeat("x", 7000) + `"`, `1e999`, `-`, `01`, `tru`, `"\x"`, "\"\xff\"", "\"\n\"", ``},
	}
)

// names are sorted, so that a seed always stands for the same tokens.
func names(m map[string][]string) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

var headerNames, memberNames = names(headers), names(members)

func (c *candidate) mutateContent() {
	o, which, known, values := &c.payload, "payload", memberNames, members
	if c.r.IntN(3) == 0 {
		o, which, known, values = &c.header, "header", headerNames, headers
	}
	switch c.r.IntN(12) {
	case 0, 1, 2, 3, 4:
		name := pick(c.r, known)
		json := pick(c.r, values[name])
		o.set(name, json)
		c.note("%s %s set to %.40s", which, name, json)
	case 5:
		i := c.r.IntN(len(*o))
		c.note("%s %s dropped", which, (*o)[i][0])
		*o = slices.Delete(slices.Clone(*o), i, i+1)
		if len(*o) == 0 {
			*o = object{{"x", "1"}}
		}
	case 6:
		m := (*o)[c.r.IntN(len(*o))]
		if c.r.IntN(2) == 0 && values[m[0]] != nil {
			m[1] = pick(c.r, values[m[0]])
		}
		*o = slices.Insert(slices.Clone(*o), c.r.IntN(len(*o)+1), m)
		c.note("%s %s twice", which, m[0])
	case 7:
		i := c.r.IntN(len(*o))
		*o = slices.Clone(*o)
		(*o)[i][0] = pick(c.r, []string{strings.ToUpper((*o)[i][0]), strings.ToTitle((*o)[i][0]), (*o)[i][0] + " ", ""})
		c.note("%s name became %s", which, (*o)[i][0])
	case 8:
		c.r.Shuffle(len(*o), func(i, j int) { (*o)[i], (*o)[j] = (*o)[j], (*o)[i] })
		c.note("%s in another order", which)
	case 9:
		c.signer = pick(c.r, c.w.list)
		c.alg = c.signer.alg
		c.note("signed by %s of %s", c.signer.kid, c.signer.iss)
	case 10: // another algorithm that the key could do
		c.alg = pick(c.r, []string{"EdDSA", "ES256", "RS256", "PS256"})
		c.header.set("alg", quote(c.alg))
		c.note("signed by alg %s", c.alg)
	case 11:
		for i := range 60 {
			*o = append(*o, [2]string{fmt.Sprintf("m%d", i), "1"})
		}
		c.note("%s with many members", which)
	}
}

// mutateText changes a JSON text, before it is signed.
func (c *candidate) mutateText(which, text string) string {
	at := c.r.IntN(len(text) + 1)
	rest := text[min(at+1, len(text)):]
	switch c.r.IntN(8) {
	case 0:
		c.note("%s: a space more", which)
		return text[:at] + pick(c.r, []string{" ", "\n", "\t", "\r", "\f", "\v", "\u00a0", "\ufeff", "\u2028"}) + text[at:]
	case 1:
		c.note("%s: a byte more", which)
		return text[:at] + string([]byte{byte(c.r.IntN(256))}) + text[at:]
	case 2:
		c.note("%s: a byte less", which)
		return text[:at] + rest
	case 3:
		c.note("%s: another byte", which)
		return text[:at] + string([]byte{byte(c.r.IntN(256))}) + rest
	case 4:
		if at == len(text) {
			return text
		}
		c.note("%s: an escaped byte", which)
		return text[:at] + fmt.Sprintf(`\u%04x`, text[at]) + rest
	case 5:
		c.note("%s: cut", which)
		return text[:at]
	case 6:
		c.note("%s: something behind", which)
		return text + pick(c.r, []string{"{}", "x", "\x00", " ", "\n\n", ",", text})
	default:
		c.note("%s: something before", which)
		return pick(c.r, []string{"{}", "x", "\x00", " ", "\ufeff", "[", "/**/"}) + text
	}
}

// mutateToken changes a token, after it was signed.
func (c *candidate) mutateToken(token string) string {
	at := c.r.IntN(len(token) + 1)
	rest := token[min(at+1, len(token)):]
	parts := strings.Split(token, ".")
	odd := []string{"=", "==", ".", "\n", "\r\n", " ", "+", "/", "%", "é", "\x00", "~", "A"}
	switch c.r.IntN(12) {
	case 0:
		c.note("token: a character more")
		return token[:at] + pick(c.r, odd) + token[at:]
	case 1:
		c.note("token: a character less")
		return token[:at] + rest
	case 2:
		c.note("token: another character")
		return token[:at] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[c.r.IntN(64)]) + rest
	case 3:
		c.note("token: cut")
		return token[:at]
	case 4:
		i := c.r.IntN(3)
		c.note("token: something behind segment %d", i)
		parts[i] += pick(c.r, odd)
	case 5:
		i := c.r.IntN(3)
		c.note("token: trailing bits of segment %d", i)
		parts[i] = trailingBits(c.r, parts[i])
	case 6:
		i := c.r.IntN(3)
		c.note("token: segment %d in the other alphabet", i)
		parts[i] = strings.NewReplacer("-", "+", "_", "/").Replace(parts[i])
	case 7:
		i, j := c.r.IntN(3), c.r.IntN(3)
		c.note("token: segment %d for %d", i, j)
		parts[j] = parts[i]
	case 8:
		c.note("token: JSON serialization")
		return `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`
	case 9:
		c.note("token: another number of segments")
		return pick(c.r, []string{token + "." + parts[2], parts[0] + "." + parts[1], token + ".", "." + token, parts[0] + ".." + parts[2], token + "." + parts[1] + "." + parts[2]})
	default:
		c.note("token: the signature in another form")
		parts[2] = b64(otherSignature(c.r, c.alg, parts[2]))
	}
	return strings.Join(parts, ".")
}

func trailingBits(r *mrand.Rand, segment string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if segment == "" {
		return segment
	}
	last := strings.IndexByte(alphabet, segment[len(segment)-1])
	return segment[:len(segment)-1] + string(alphabet[(last^(1<<r.IntN(4)))&63])
}

// otherSignature says the same in another way, or nearly.
func otherSignature(r *mrand.Rand, alg, segment string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil || len(raw) == 0 {
		return raw
	}
	half := len(raw) / 2
	switch r.IntN(6) {
	case 0:
		return append(raw, 0)
	case 1:
		return append([]byte{0}, raw...)
	case 2:
		return make([]byte, len(raw))
	case 3:
		raw[r.IntN(len(raw))] ^= 1 << r.IntN(8)
		return raw
	case 4: // the other half of a pair that verifies: n - s of ECDSA, s + L of Ed25519
		if alg == "ES256" {
			s := new(big.Int).SetBytes(raw[half:])
			return new(big.Int).Sub(elliptic.P256().Params().N, s).FillBytes(raw[half:])
		}
		l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		s := slices.Clone(raw[half:])
		slices.Reverse(s)
		sum := new(big.Int).Add(new(big.Int).SetBytes(s), l).Bytes()
		slices.Reverse(sum)
		return append(raw[:half], sum...)
	default:
		return raw[:len(raw)-1]
	}
}

// compact makes a token of any header and payload.
func compact(signer *key, alg, header, payload string) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(sign(signer.private, alg, input))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign signs by alg if the key can, else by what it can.
func sign(private crypto.Signer, alg, input string) []byte {
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch private.(type) {
	case ed25519.PrivateKey:
		signature, err = private.Sign(nil, []byte(input), crypto.Hash(0))
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = crypto.SHA256
		if alg == "PS256" {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		}
		signature, err = private.Sign(rand.Reader, digest[:], opts)
	case *ecdsa.PrivateKey:
		var der []byte
		if der, err = private.Sign(rand.Reader, digest[:], crypto.SHA256); err == nil {
			var rs struct{ R, S *big.Int }
			_, err = asn1.Unmarshal(der, &rs)
			signature = append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...)
		}
	}
	if err != nil {
		panic(err)
	}
	return signature
}

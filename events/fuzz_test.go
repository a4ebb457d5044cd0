package events

import (
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/keyherald/keyherald/events/strictjson"
)

// checkRoundTrip fails unless what was read from data is written, and read again, as the same record. A record
// at a limit may pass it when our own members are added: that, and nothing else, may be refused.
func checkRoundTrip(t *testing.T, data []byte, record any, encode func() ([]byte, error), parse func([]byte) (any, error)) {
	t.Helper()
	out, err := encode()
	if err != nil {
		var syntax *strictjson.SyntaxError
		if len(data) > MaxValue/8 || errors.As(err, &syntax) && syntax.Reason == "too many members" {
			return
		}
		t.Fatalf("%q is read but not written: %v", data, err)
	}
	back, err := parse(out)
	if err != nil {
		t.Fatalf("%q is written as %q, which is refused: %v", data, out, err)
	}
	if !reflect.DeepEqual(back, record) {
		t.Fatalf("%q is written as %q, which is\n%+v and not\n%+v", data, out, back, record)
	}
}

// addRecords gives a fuzz target its seeds: the golden records of its type, all of them cut off, and what is just wrong.
func addRecords(f *testing.F, prefix string, least int, add func([]byte)) {
	n := 0
	for _, record := range goldenFiles(f, prefix) {
		add(record)
		for cut := 1; cut < len(record); cut += 7 {
			add(record[:cut])
		}
		n++
	}
	if n < least {
		f.Fatalf("only %d golden records %s*: the seeds are gone", n, prefix)
	}
	for _, s := range []string{``, `{}`, `[]`, `null`, `{"a":{}}`, `{"exp":0}`, `{"exp":1e400}`, `{"exp":-1}`, "\xff", `{"":""}`} {
		add([]byte(s))
	}
}

func FuzzParseIssuer(f *testing.F) {
	addRecords(f, "issuer-", 3, func(b []byte) { f.Add(b) })
	for _, s := range []string{platformJSON, clientJSON, externalJSON} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseIssuer(data); err == nil {
			checkRoundTrip(t, data, r, r.Encode, func(b []byte) (any, error) { return ParseIssuer(b) })
		}
	})
}

func FuzzParseClient(f *testing.F) {
	addRecords(f, "client-", 1, func(b []byte) { f.Add(b) })
	for _, s := range []string{secret(), secrets(3), secret("exp", `5`, "iat", `4`, "x", `[]`), profileJSON, `{"profile":{"tags":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseClient(data); err == nil {
			checkRoundTrip(t, data, r, r.Encode, func(b []byte) (any, error) { return ParseClient(b) })
		}
	})
}

func FuzzParseTokenRevocation(f *testing.F) {
	addRecords(f, "revoked-token", 1, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseTokenRevocation(data); err == nil {
			checkRoundTrip(t, data, r, r.Encode, func(b []byte) (any, error) { return ParseTokenRevocation(b) })
		}
		if r, err := parseKeyRevocation(data); err == nil {
			checkRoundTrip(t, data, r, r.Encode, func(b []byte) (any, error) { return parseKeyRevocation(b) })
		}
	})
}

func FuzzParseKey(f *testing.F) {
	addRecords(f, "key-", 3, func(b []byte) { f.Add("k1", b) })
	f.Add("a/b c", goldenFiles(f, "key-p256")["key-p256"])
	f.Add("2011-04-29", goldenFiles(f, "key-rsa")["key-rsa"])
	for n := range 65 { // keys that were cut off, or are too long
		x := b64(slices.Repeat([]byte{0x27}, n))
		f.Add("k1", []byte(`{"kty":"OKP","crv":"Ed25519","x":"`+x+`"}`))
		f.Add("k1", []byte(`{"kty":"EC","crv":"P-256","x":"`+x+`","y":"`+ecY+`"}`))
		f.Add("k1", []byte(`{"kty":"RSA","alg":"RS256","n":"`+rsaN+`","e":"`+x+`"}`))
		f.Add("k1", []byte(`{"kty":"oct","k":"`+x+`"}`))
	}
	for _, bad := range []string{ // of small order, not canonical, off the curve
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0200000000000000000000000000000000000000000000000000000000000000",
	} {
		raw, err := hex.DecodeString(bad)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("k1", []byte(`{"kty":"OKP","crv":"Ed25519","x":"`+b64(raw)+`"}`))
	}
	f.Fuzz(func(t *testing.T, kid string, data []byte) {
		id, err := ParseKeyID(kid)
		if err != nil {
			return
		}
		k, err := ParseKey(id, data)
		if err != nil {
			return
		}
		if err := CheckPublicKey(k.Algorithm, k.Public); err != nil {
			t.Fatalf("ParseKey takes what CheckPublicKey refuses: %v", err)
		}
		if _, err := Thumbprint(k.Public); err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, data, k, func() ([]byte, error) { return k.Encode(id) }, func(b []byte) (any, error) { return ParseKey(id, b) })
	})
}

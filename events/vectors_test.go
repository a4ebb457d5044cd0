package events

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"
	"github.com/c2sp/wycheproof"
)

// Published vectors that are accepted there and not here: symmetric keys are refused, as the package comment says, because
// everybody who verifies with one can sign with it.
var wycheproofExceptions = map[int]string{
	2:  "HS256 with two keys",
	13: "HS256 with a key that is longer than it needs to be",
	14: "HS384 with a key that is longer than it needs to be",
	15: "HS512 with a key that is longer than it needs to be",
}

type wycheproofKeySet struct {
	Keys []json.RawMessage `json:"keys"`
}

func TestT_WycheproofJSONWebKeys(t *testing.T) {
	data, err := fs.ReadFile(wycheproof.TestVectors, "json_web_key_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Comment         string
			Private, Public wycheproofKeySet
			Tests           []struct {
				TcID            int
				Comment, Result string
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	ran, accepted, refused, alarms := 0, 0, 0, 0
	for _, group := range file.TestGroups {
		keys := group.Public.Keys
		if len(keys) == 0 {
			keys = group.Private.Keys // a group of symmetric keys has no public ones
		}
		err := registerAll(keys)
		for _, c := range group.Tests {
			ran++
			want := c.Result == "valid"
			if why, ok := wycheproofExceptions[c.TcID]; ok {
				if !want {
					t.Errorf("%d: %s is no exception any more", c.TcID, why)
				}
				want = false
			}
			if err == nil {
				accepted++
			} else {
				refused++
			}
			if (err == nil) != want {
				t.Errorf("%d %s (%s): %v, published as %s", c.TcID, c.Comment, group.Comment, err, c.Result)
			}
		}
		for _, key := range group.Private.Keys {
			if !bytes.Contains(key, []byte(`"d":`)) && !bytes.Contains(key, []byte(`"k":`)) {
				continue // one of the keys of group 1 is public
			}
			_, err := parseAny(key)
			if err == nil || err.Error() != errPrivate.Error() && err.Error() != errSymmetric.Error() {
				t.Errorf("%s: a private key raises no alarm: %v", group.Comment, err)
			}
			alarms++
		}
	}
	t.Logf("wycheproof json_web_key: %d tests, %d accepted, %d refused, %d exceptions; %d private keys, each with an alarm",
		ran, accepted, refused, len(wycheproofExceptions), alarms)
	if ran != 26 || ran != file.NumberOfTests || accepted != 1 || alarms != 27 {
		t.Errorf("%d tests, %d accepted, %d alarms; want 26, 1 and 27", ran, accepted, alarms)
	}
}

// parseAny reads a key under the kid that it says.
func parseAny(key []byte) (*Key, error) {
	var j struct{ Kid string }
	if err := json.Unmarshal(key, &j); err != nil {
		return nil, err
	}
	return ParseKey(KeyID(j.Kid), key)
}

func registerAll(keys []json.RawMessage) error {
	for _, key := range keys {
		if _, err := parseAny(key); err != nil {
			return err
		}
	}
	return nil
}

func TestT_CCTVPublicKeys(t *testing.T) {
	data, err := os.ReadFile("testdata/cctv/ed25519vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Number int
		Key    string
		Flags  []string
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	accepted, lowOrder, nonCanonical := 0, 0, 0
	distinct := map[string]bool{}
	for _, v := range vectors {
		key, err := hex.DecodeString(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := new(edwards25519.Point).SetBytes(key); err != nil {
			t.Fatalf("%d: %s is not on the curve", v.Number, v.Key)
		}
		low, odd := slices.Contains(v.Flags, "low_order_A"), slices.Contains(v.Flags, "non_canonical_A")
		err = CheckPublicKey(EdDSA, ed25519.PublicKey(key))
		if (err == nil) != (!low && !odd) {
			t.Errorf("%d: key %s with flags %v: %v", v.Number, v.Key, v.Flags, err)
		}
		if _, again := ParseKey("k1", []byte(with(ed, "x", `"`+b64(key)+`"`))); (again == nil) != (err == nil) {
			t.Errorf("%d: ParseKey and CheckPublicKey disagree: %v, %v", v.Number, again, err)
		}
		distinct[v.Key] = true
		if err == nil {
			accepted++
		}
		if low {
			lowOrder++
		}
		if odd {
			nonCanonical++
		}
	}
	t.Logf("CCTV ed25519: %d vectors with %d public keys; %d accepted, %d of low order refused, %d non-canonical refused",
		len(vectors), len(distinct), accepted, lowOrder, nonCanonical)
	if len(vectors) != 914 || lowOrder != 526 || nonCanonical != 226 || accepted != 914-526 {
		t.Errorf("%d vectors, %d of low order, %d non-canonical, %d accepted", len(vectors), lowOrder, nonCanonical, accepted)
	}
}

func TestT_Thumbprints(t *testing.T) {
	for name, c := range map[string]struct{ record, want string }{
		"RFC 7638 §3.1": {with(rs, "kid", `"2011-04-29"`), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		"RFC 8037 A.3":  {ed, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		// The hash of {"crv":"P-256","kty":"EC","x":"f83O…","y":"x_FE…"}, by sha256sum.
		"RFC 7515 A.3.1": {ec, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"},
	} {
		key, err := parseAny([]byte(c.record))
		if err != nil {
			if key, err = ParseKey("k1", []byte(c.record)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := Thumbprint(key.Public); err != nil || got != c.want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
		}
	}
	for _, key := range []any{nil, ed25519.PublicKey{1}, "text", ed25519.NewKeyFromSeed(make([]byte, 32))} {
		if got, err := Thumbprint(key); err == nil {
			t.Errorf("%T has the thumbprint %s", key, got)
		}
	}
}

// A modulus with the fingerprint is found whatever its size, and others are not: nearly every modulus fails at the first primes.
func TestROCAFingerprint(t *testing.T) {
	m := big.NewInt(1)
	for p := int64(2); p <= 701; p++ { // the primes whose product is M for keys of 2048 bits
		if big.NewInt(p).ProbablyPrime(0) {
			m.Mul(m, big.NewInt(p))
		}
	}
	made := func(k, a int64) *big.Int {
		power := new(big.Int).Exp(big.NewInt(65537), big.NewInt(a), m)
		return power.Add(power, new(big.Int).Mul(big.NewInt(k), m))
	}
	for a := range int64(50) {
		if n := new(big.Int).Mul(made(a+1, a), made(3*a+7, 77-a)); !isROCA(n) {
			t.Errorf("a product of two such numbers is not recognised (a = %d)", a)
		}
	}
	n := new(big.Int).SetBytes(fromBase64(t, rsaN))
	for i := range 20_000 {
		if isROCA(n) {
			t.Fatalf("modulus %d of RFC 7638 + 2i has the fingerprint", i)
		}
		n.Add(n, big.NewInt(2))
	}
}

// Whoever can send something can send a key that was cut off: at any length it is an error, not a panic (nats-server
// GHSA-g33f-6538-grxh).
func TestCVE_KeysOfEveryLength(t *testing.T) {
	full := slices.Repeat([]byte{0x27}, 64)
	for n := range 65 {
		short := b64(full[:n])
		for _, record := range []string{
			with(ed, "x", `"`+short+`"`),
			with(ec, "x", `"`+short+`"`),
			with(ec, "y", `"`+short+`"`),
			with(rs, "n", `"`+short+`"`),
			with(rs, "e", `"`+short+`"`),
			ed[:min(n, len(ed))], ec[:min(n, len(ec))], rs[:min(n, len(rs))],
		} {
			if _, err := ParseKey("k1", []byte(record)); err == nil && n != 32 && !strings.Contains(record, `"e":"`+short) {
				t.Errorf("a key of %d bytes is accepted: %.80s", n, record)
			}
		}
		if n != 32 {
			if err := CheckPublicKey(EdDSA, ed25519.PublicKey(full[:n])); err == nil {
				t.Errorf("an Ed25519 key of %d bytes is accepted", n)
			}
			if _, err := Thumbprint(ed25519.PublicKey(full[:n])); err == nil {
				t.Errorf("an Ed25519 key of %d bytes has a thumbprint", n)
			}
		}
		if _, err := ParseTokenID("jti." + short); (err == nil) != (n == 32) {
			t.Errorf("a token id of %d bytes: %v", n, err)
		}
	}
}

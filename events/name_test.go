package events

import (
	"strings"
	"testing"
)

var (
	longName = strings.Repeat("n", MaxName)
	longKid  = strings.Repeat("k", MaxKeyID)
)

// goodNames are names in KEYS and what they stand for. The fuzz target starts from them, too.
var goodNames = map[string]RecordName{
	"issuer.orders":                 IssuerRecord("orders"),
	"issuer.platform":               IssuerRecord("platform"),
	"issuer.a":                      IssuerRecord("a"),
	"issuer.-_-":                    IssuerRecord("-_-"),
	"issuer." + longName:            IssuerRecord(Name(longName)),
	"key.orders.k1":                 KeyRecord("orders", "k1"),
	"key.Orders.K1":                 KeyRecord("Orders", "K1"),
	"key.orders.b64":                KeyRecord("orders", "b64"),
	"key.b64.b64":                   KeyRecord("b64", "b64"),
	"key.orders." + longKid:         KeyRecord("orders", KeyID(longKid)),
	"key.idp.b64.YS9i":              KeyRecord("idp", "a/b"),
	"key.idp.b64.LmI2NC4":           KeyRecord("idp", ".b64."),
	"key.idp.b64.8J-UkQ":            KeyRecord("idp", "🔑"),
	"revoked.orders.k1":             RevokedRecord("orders", "k1"),
	"revoked.idp.b64.YS9i":          RevokedRecord("idp", "a/b"),
	"revoked.platform." + longKid:   RevokedRecord("platform", KeyID(longKid)),
	b64Name(longKid + "k"):          KeyRecord("idp", KeyID(longKid+"k")), // too long to stand as it is
	b64Name(strings.Repeat("/", 4)): KeyRecord("idp", "////"),
}

func b64Name(kid string) string { return KeyRecord("idp", KeyID(kid)).String() }

// badNames are not names in KEYS.
var badNames = map[string]string{
	"is empty":                            "",
	"has no kind":                         "orders",
	"has an unknown kind":                 "user.orders",
	"has a kind in capitals":              "Key.orders.k1",
	"has a kind and no more":              "issuer",
	"has an empty issuer name":            "issuer.",
	"has an issuer name with a dot":       "issuer.a.b",
	"has an issuer name with a space":     "issuer.a b",
	"has an issuer name with a wildcard":  "issuer.*",
	"has an issuer name that is too long": "issuer." + longName + "n",
	"has a key without a kid":             "key.orders",
	"has a key with an empty kid":         "key.orders.",
	"has a key without an issuer":         "key..k1",
	"has a kid with a dot":                "key.orders.k1.k2",
	"has a kid with a slash":              "key.orders.a/b",
	"has a kid with >":                    "key.orders.>",
	"has a kid that is too long":          "key.orders." + longKid + "k",
	"has a b64 kid of nothing":            "key.idp.b64.",
	"has a b64 kid with padding":          "key.idp.b64.YS8=",
	"has a b64 kid with bits left over":   "key.idp.b64.YS9",
	"has a b64 kid of the wrong alphabet": "key.idp.b64.8J+UkQ",
	"has a b64 kid that is plain":         "key.idp.b64.azE",
	"has a b64 kid that is not UTF-8":     "key.idp.b64._w",
	"has a b64 kid with a line break":     "key.idp.b64.YQpi",
	"has a b64 kid with a C1 control":     "key.idp.b64.YcKFYg",
	"has a b64 kid with a NUL":            "key.idp.b64.YQBi",
	"has a b64 kid that is too long":      b64Name(strings.Repeat("/", MaxForeignKeyID+1)),
	"has something after the b64 kid":     "key.idp.b64.YS9i.x",
	"has a line break in the b64 kid":     "key.idp.b64.YS\n9i",
	"has a revoked key without a kid":     "revoked.orders",
}

func TestNamesAreReadAndWrittenTheSame(t *testing.T) {
	for text, want := range goodNames {
		got, err := ParseRecordName(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got != want {
			t.Errorf("%s is read as %+v, want %+v", text, got, want)
		}
		if got.String() != text {
			t.Errorf("%s is written as %s", text, got)
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	for why, text := range badNames {
		t.Run("a name that "+why, func(t *testing.T) {
			if got, err := ParseRecordName(text); err == nil {
				t.Fatalf("%q is read as %+v", text, got)
			} else if got != (RecordName{}) {
				t.Fatalf("%q gives an error and %+v", text, got)
			}
		})
	}
}

// Two names for one record would be two places for its compare-and-set, and a revocation under one of them would not be
// seen under the other.
func TestARecordHasOneName(t *testing.T) {
	seen := map[RecordName]string{}
	for text, name := range goodNames {
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s are one record", text, other)
		}
		seen[name] = text
	}
}

func TestKidsOfExternalIssuersAreTextOf256Bytes(t *testing.T) {
	for kid, ok := range map[string]bool{
		"k1":                     true,
		"a/b+c=":                 true,
		"https://idp/keys#1":     true,
		strings.Repeat("/", 256): true,
		strings.Repeat("/", 257): false,
		strings.Repeat("k", 256): true, // longer than a plain one: stands in b64
		"":                       false,
		"a\nb":                   false,
		"a\x7fb":                 false,
		"a\u0085b":               false,
		"a\xffb":                 false,
	} {
		got, err := ParseKeyID(kid)
		if (err == nil) != ok {
			t.Errorf("kid %.20q: %v", kid, err)
		}
		if err == nil && string(got) != kid {
			t.Errorf("kid %q became %q", kid, got)
		}
	}
}

// An error is shown in logs and terminals: what a stranger put into it must not take them over.
func TestErrorsAboutNamesQuoteWhatIsForeign(t *testing.T) {
	_, err := ParseRecordName("issuer.\x1b[2J" + strings.Repeat("x", 10_000))
	checkRefused(t, err, `\x1b[2J`)
	if len(err.Error()) > 300 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}

func FuzzParseRecordName(f *testing.F) {
	if len(goodNames) < 15 || len(badNames) < 25 {
		f.Fatalf("only %d and %d seeds", len(goodNames), len(badNames))
	}
	for text := range goodNames {
		f.Add(text)
	}
	for _, text := range badNames {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := ParseRecordName(text)
		if err != nil {
			return
		}
		if name.String() != text {
			t.Fatalf("%q is read as %+v, whose name is %q", text, name, name)
		}
		if _, err := ParseName(string(name.Issuer)); err != nil {
			t.Fatal(err)
		}
		if name.Kind != KindIssuer {
			if _, err := ParseKeyID(string(name.KeyID)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

package events

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestI13_APIKeyHasItsDocumentedForm(t *testing.T) {
	form := regexp.MustCompile(`^khs_svc_orders-2_[0-9a-zA-Z]{43}_[0-9a-zA-Z]{6}$`)
	seen := map[string]bool{}
	for range 200 {
		key := NewAPIKey("svc_orders-2")
		text := key.Reveal()
		if !form.MatchString(text) {
			t.Fatalf("the text is not of the form khs_<client>_<43>_<6>: %d bytes", len(text))
		}
		if seen[text] {
			t.Fatal("two API keys are the same")
		}
		seen[text] = true

		back, err := ParseAPIKey(text)
		if err != nil {
			t.Fatal(err)
		}
		if back.Client != "svc_orders-2" || back.Reveal() != text {
			t.Fatal("an API key reads back as another")
		}
		if key.Hash() != sha256.Sum256([]byte(text)) || back.Hash() != key.Hash() {
			t.Fatal("the hash is not the SHA-256 of the whole text")
		}

		body, sum := text[:len(text)-6], text[len(text)-6:]
		n, ok := new(big.Int).SetString(sum, 62)
		if !ok || n.Uint64() != uint64(crc32.ChecksumIEEE([]byte(body))) {
			t.Fatal("the checksum is not the CRC-32 of everything before it")
		}
	}
}

// All 256 bits must arrive in the text: a number of 43 digits that uses them spans the whole range.
func TestI13_APIKeyCarries256Bits(t *testing.T) {
	var ever, all big.Int
	all.Sub(new(big.Int).Lsh(big.NewInt(1), apiKeyBits), big.NewInt(1))
	both := new(big.Int).Set(&all)
	for range 200 { // a bit that is always 0 or always 1 shows with probability 1 - 256 * 2^-199
		text := NewAPIKey("a").Reveal()
		n, ok := new(big.Int).SetString(text[len("khs_a_"):len("khs_a_")+apiKeySecret], 62)
		if !ok || n.BitLen() > apiKeyBits {
			t.Fatal("the secret is not a number of 256 bits")
		}
		ever.Or(&ever, n)
		both.And(both, n)
	}
	if ever.Cmp(&all) != 0 || both.Sign() != 0 {
		t.Fatalf("some bits never change: %d are ever set, %d always", bits(&ever), bits(both))
	}
}

func bits(n *big.Int) (count int) {
	for i := range n.BitLen() {
		count += int(n.Bit(i))
	}
	return count
}

func TestBase62DigitsPad(t *testing.T) {
	top := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), apiKeyBits), big.NewInt(1))
	for _, c := range []struct {
		n      *big.Int
		digits int
		want   string
	}{
		{big.NewInt(0), 6, "000000"},
		{big.NewInt(61), 6, "00000Z"},
		{big.NewInt(62), 6, "000010"},
		{big.NewInt(1<<32 - 1), 6, "4GFfc3"},
	} {
		if got := base62Digits(c.n, c.digits); got != c.want {
			t.Errorf("%s is %s, want %s", c.n, got, c.want)
		}
	}
	if got := base62Digits(top, apiKeySecret); len(got) != apiKeySecret {
		t.Errorf("2^256-1 has %d digits, want %d", len(got), apiKeySecret)
	}
}

func TestParseAPIKeyRefuses(t *testing.T) {
	good := NewAPIKey("orders").Reveal()
	swap := func(i int) string { // another digit at i
		c := byte('0')
		if good[i] == c {
			c = '1'
		}
		return good[:i] + string(c) + good[i+1:]
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"an empty text":                   {"", errAPIKey},
		"a prefix alone":                  {"khs_", errAPIKey},
		"no client":                       {"khs_" + good[len("khs_orders"):], errAPIKey},
		"another prefix":                  {"khx" + good[3:], errAPIKey},
		"a client outside the alphabet":   {"khs_or.ers" + good[len("khs_orders"):], errAPIKey},
		"a client of 65 characters":       {NewAPIKey(Name(strings.Repeat("a", 65))).Reveal(), errAPIKey},
		"a secret outside the alphabet":   {good[:20] + "-" + good[21:], errAPIKey},
		"a checksum outside the alphabet": {good[:len(good)-1] + "-", errAPIKey},
		"no separator before the secret":  {"khs_ordersX" + good[len("khs_orders_"):], errAPIKey},
		"white space around it":           {good + "\n", errAPIKey},
		"a mistyped secret":               {swap(20), errAPIKeyChecksum},
		"a mistyped client":               {"khs_ordera" + good[len("khs_orders"):], errAPIKeyChecksum},
		"a mistyped checksum":             {swap(len(good) - 1), errAPIKeyChecksum},
		"a key cut off by one":            {good[:len(good)-1], errAPIKey},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ParseAPIKey(c.text)
			if err != c.want {
				t.Fatalf("error is %v, want %v", err, c.want)
			}
			if key.Reveal() != "" {
				t.Error("a refused text came back as a key")
			}
		})
	}
}

// A name that ends like a key is still read as the name that it is.
func TestParseAPIKeyReadsFromTheRight(t *testing.T) {
	for _, client := range []Name{"_", "a_b_c", "khs_x", Name(strings.Repeat("_", 64))} {
		key, err := ParseAPIKey(NewAPIKey(client).Reveal())
		if err != nil || key.Client != client {
			t.Errorf("client %q reads back as %q: %v", client, key.Client, err)
		}
	}
}

func TestAPIKeyDoesNotPrintItsSecret(t *testing.T) {
	key := NewAPIKey("orders")
	secret := key.Reveal()[len("khs_orders_"):][:apiKeySecret]
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		args := []any{key}
		if strings.HasPrefix(format, "%T") {
			args = []any{key, &key}
		}
		got := fmt.Sprintf(format, args...)
		if strings.Contains(got, secret) || strings.Contains(strings.ToLower(got), fmt.Sprintf("%x", secret)) || !strings.Contains(got, "khs_orders_(secret)") {
			t.Errorf("%s prints %s", format, strings.ReplaceAll(got, secret, "THE SECRET"))
		}
	}
	if _, err := json.Marshal(struct{ K any }{key}); err == nil {
		t.Error("an API key was encoded as JSON")
	}
}

func TestAChecksumIsABase62NumberOfSixDigits(t *testing.T) {
	for i := range 10_000 {
		text := strconv.Itoa(i)
		want := base62Digits(big.NewInt(int64(crc32.ChecksumIEEE([]byte(text)))), apiKeyChecksum)
		if got := checksum(text); string(got[:]) != want {
			t.Fatalf("checksum of %s is %s, want %s", text, got, want)
		}
	}
}

func FuzzParseAPIKey(f *testing.F) {
	f.Add(NewAPIKey("orders").Reveal())
	f.Add(NewAPIKey("a_b").Reveal())
	f.Add("khs_")
	f.Add("khs_a_" + strings.Repeat("0", apiKeySecret) + "_000000")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseAPIKey(text)
		if err != nil {
			return
		}
		if key.Reveal() != text {
			t.Fatal("what was read is not what was given")
		}
		if _, err := ParseName(string(key.Client)); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(text, "khs_"+string(key.Client)+"_") {
			t.Fatal("the client is not the one in the text")
		}
	})
}

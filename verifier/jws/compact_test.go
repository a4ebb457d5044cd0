package jws

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestV4_OnlySignedTokensInCompactForm(t *testing.T) {
	h, p, s := encode(usualHeader), encode(usualClaims), encode(strings.Repeat("s", 64))
	for name, test := range map[string]struct {
		token, says string
	}{
		"five segments are an encrypted token":             {h + "." + p + "." + p + "." + p + "." + s, "encrypted"},
		"encrypted tokens are refused without decoding":    {"?.?.?.?.?", "encrypted"},
		"five empty segments":                              {"....", "encrypted"},
		"flattened JSON":                                   {`{"protected":"` + h + `","payload":"` + p + `","signature":"` + s + `"}`, "JSON serialization"},
		"general JSON without protected header":            {`{"payload":"` + p + `","signatures":[{"signature":"` + s + `"}]}`, "JSON serialization"},
		"JSON with dots in it":                             {`{"payload":"a.b.c","signatures":[]}`, "base64url"},
		"nothing":                                          {"", "empty"},
		"one segment":                                      {h, "three segments"},
		"two segments":                                     {h + "." + p, "three segments"},
		"four segments":                                    {h + "." + p + "." + s + "." + s, "three segments"},
		"an empty header":                                  {"." + p + "." + s, "empty segment"},
		"an empty payload, as of detached content":         {h + ".." + s, "empty segment"},
		"an empty signature, as of an unsecured token":     {h + "." + p + ".", "empty segment"},
		"three empty segments":                             {"..", "empty segment"},
		"a trailing dot":                                   {h + "." + p + "." + s + ".", "three segments"},
		"a leading dot":                                    {"." + h + "." + p + "." + s, "three segments"},
		"the scheme of the Authorization header before it": {"Bearer " + usualToken(), "base64url"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(test.token)
			wantReason(t, err, ReasonForm)
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %q does not say %q", err, test.says)
			}
		})
	}
}

func TestV4_AHeaderWithEncIsOneOfAnEncryptedToken(t *testing.T) {
	_, err := Parse(tokenOf(`{"alg":"EdDSA","kid":"k1","enc":"A128GCM"}`, usualClaims))
	wantReason(t, err, ReasonHeader)
}

// Every byte that is not of the alphabet, at each kind of place in each segment. Among them are CR and LF, which Go's strict
// decoder skips, and the characters of standard base64.
func TestV5_AnyOtherCharacterIsRefused(t *testing.T) {
	token := usualToken()
	mustParse(t, token)
	for c := range 256 {
		if c == '.' || strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", rune(c)) {
			continue
		}
		for segment := range 3 {
			for _, place := range []string{"before", "in", "after", "instead"} {
				segments := strings.Split(token, ".")
				s := segments[segment]
				middle := len(s) / 2
				switch place {
				case "before":
					s = string([]byte{byte(c)}) + s
				case "in":
					s = s[:middle] + string([]byte{byte(c)}) + s[middle:]
				case "after":
					s += string([]byte{byte(c)})
				case "instead":
					s = s[:middle] + string([]byte{byte(c)}) + s[middle+1:]
				}
				segments[segment] = s
				_, err := Parse(strings.Join(segments, "."))
				if err == nil {
					t.Fatalf("byte %#x %s segment %d was accepted", c, place, segment)
				}
				wantReason(t, err, ReasonForm)
			}
		}
	}
}

// The strict decoder of Go skips CR and LF wherever they are.
func TestV5_LineBreaksAreRefusedEverywhere(t *testing.T) {
	token := usualToken()
	for i := range len(token) + 1 {
		for _, c := range []string{"\r", "\n", "\r\n"} {
			_, err := Parse(token[:i] + c + token[i:])
			wantReason(t, err, ReasonForm)
		}
	}
}

// What decodes to the same bytes must not be another token: what is remembered by a token's text would miss it.
func TestV5_ATokenHasOneSpelling(t *testing.T) {
	// Segments with 2 and with 4 unused bits, by the lengths of what they encode.
	headers := []string{`{"alg":"EdDSA","kid":"k12"}`, `{"alg":"EdDSA","kid":"k123"}`, `{"alg":"EdDSA","kid":"k1234"}`}
	payloads := []string{`{"iss":"i"}`, `{"iss":"ii"}`, `{"iss":"iii"}`}
	signatures := []string{strings.Repeat("s", 63), strings.Repeat("s", 64), strings.Repeat("s", 65)}
	tried := 0
	for i := range 9 {
		segments := []string{encode(headers[i%3]), encode(payloads[i/3]), encode(signatures[(i+i/3)%3])}
		mustParse(t, strings.Join(segments, "."))
		for at, s := range segments {
			for c := range 256 {
				other := s[:len(s)-1] + string(rune(c))
				a, errA := base64.RawURLEncoding.DecodeString(s)
				b, errB := base64.RawURLEncoding.DecodeString(other)
				if other == s || errA != nil || errB != nil || string(a) != string(b) {
					continue // no other spelling of the same bytes
				}
				tried++
				changed := append([]string(nil), segments...)
				changed[at] = other
				_, err := Parse(strings.Join(changed, "."))
				wantReason(t, err, ReasonForm)
			}
			for _, padding := range []string{"=", "==", "A"} { // "A": a length that base64 cannot have, where it is one
				if padding == "A" && len(s)%4 != 0 {
					continue
				}
				changed := append([]string(nil), segments...)
				changed[at] = s + padding
				_, err := Parse(strings.Join(changed, "."))
				wantReason(t, err, ReasonForm)
			}
		}
	}
	if tried < 9 {
		t.Errorf("only %d other spellings were tried", tried)
	}
}

func TestV18_SizesAtAndOverTheEdge(t *testing.T) {
	kid := func(n int) string { return `{"alg":"EdDSA","kid":"` + strings.Repeat("k", n) + `"}` }
	header := func(n int) string {
		empty := `{"alg":"EdDSA","kid":"k1","x":""}`
		return `{"alg":"EdDSA","kid":"k1","x":"` + strings.Repeat("x", n-len(empty)) + `"}`
	}
	signature := func(n int) string {
		return encode(usualHeader) + "." + encode(usualClaims) + "." + encode(strings.Repeat("s", n))
	}
	sized := func(n int) string { // a token of so many bytes
		for pad := n * 3 / 4; pad > 0; pad-- {
			// Not every length exists in base64: the kid makes up for it.
			for _, kid := range []string{"k", "kk", "kkk"} {
				if token := tokenOf(`{"alg":"EdDSA","kid":"`+kid+`"}`, `{"x":"`+strings.Repeat("x", pad)+`"}`); len(token) == n {
					return token
				}
			}
		}
		t.Fatalf("there is no token of %d bytes", n)
		return ""
	}
	for name, test := range map[string]struct {
		token string
		want  Reason
	}{
		"a token of 8 KiB":               {sized(MaxToken), ""},
		"a token of 8 KiB and a byte":    {sized(MaxToken + 1), ReasonSize},
		"a header of 1 KiB":              {tokenOf(header(MaxHeader), usualClaims), ""},
		"a header of 1 KiB and a byte":   {tokenOf(header(MaxHeader+1), usualClaims), ReasonSize},
		"a signature of 1 KiB":           {signature(MaxSignature), ""},
		"a signature of 1 KiB and more":  {signature(MaxSignature + 1), ReasonSize},
		"a kid of 256 bytes":             {tokenOf(kid(MaxKeyID), usualClaims), ""},
		"a kid of 257 bytes":             {tokenOf(kid(MaxKeyID+1), usualClaims), ReasonKeyID},
		"a kid of 64 KiB":                {tokenOf(kid(64<<10), usualClaims), ReasonSize},
		"64 KiB that are not a token":    {strings.Repeat("x", 64<<10), ReasonSize},
		"a payload of more than 64 KiB":  {tokenOf(usualHeader, `{"x":"`+strings.Repeat("x", 66<<10)+`"}`), ReasonSize},
		"a megabyte with the right dots": {usualToken() + strings.Repeat("A", 1<<20), ReasonSize},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(test.token)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantReason(t, err, test.want)
		})
	}
}

// The errors spell the limits out, so that they need no formatting.
func TestErrorsNameTheLimitsAsTheyAre(t *testing.T) {
	for limit, token := range map[int]string{
		MaxToken:  strings.Repeat("x", MaxToken+1),
		MaxHeader: encode(strings.Repeat("x", MaxHeader+1)) + ".AAAA.AAAA",
		MaxKeyID:  tokenOf(fmt.Sprintf(`{"alg":"EdDSA","kid":%q}`, strings.Repeat("k", MaxKeyID+1)), "{}"),
	} {
		_, err := Parse(token)
		if err == nil || !strings.Contains(err.Error(), strconv.Itoa(limit)+" bytes") {
			t.Errorf("error %v does not name %d bytes", err, limit)
		}
	}
}

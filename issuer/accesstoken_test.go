package issuer

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/verifier/jws"
)

func TestI10_AnAccessTokenHasTheShapeOfRFC9068(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		token := f.granted(f.withKey("resource", "https://billing"))
		now := time.Now().Unix()
		if h := token.Header; h.Algorithm != jws.EdDSA || h.KeyID != string(f.kid()) || h.Type != "at+jwt" {
			t.Errorf("header %+v", h)
		}
		var id struct {
			ID string `json:"jti"`
		}
		if err := json.Unmarshal(token.Payload(), &id); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"iss":"%s","sub":"orders","aud":"https://billing","client_id":"orders","iat":%d,"exp":%d,"jti":"%s","scope":"billing:read billing:write"}`,
			testIssuer, now, now+900, id.ID)
		if string(token.Payload()) != want {
			t.Errorf("claims\n%s, want\n%s", token.Payload(), want)
		}
		if raw, err := base64.RawURLEncoding.DecodeString(id.ID); err != nil || len(raw) != 16 {
			t.Errorf("jti %s is not of 128 bits", id.ID)
		}
		if again := f.granted(f.withKey()); again.Claims.ID == token.Claims.ID {
			t.Error("two tokens have one jti")
		}
	})
}

func TestATokenThatWouldBeTooLongIsRefusedWithAnAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.bucket.put("issuer.orders", `{"type":"client","status":"active"}`)
		var params []string
		for i := range 16 {
			params = append(params, "resource", fmt.Sprint(strings.Repeat("a", 1000), i))
		}
		if a := f.token(f.withKey(params...)); a.status != 400 || a.Error != "invalid_target" || !strings.Contains(a.Description, "fewer") {
			t.Errorf("status %d, error %s: %s", a.status, a.Error, a.Description)
		}
	})
}

func BenchmarkSignAccessToken(b *testing.B) {
	private := newPrivateKey(b)
	key, err := hide(private)
	if err != nil {
		b.Fatal(err)
	}
	g := &grant{client: "orders", audience: []string{"https://billing"}, scope: "billing:read billing:write"}
	var token string
	sign := func() {
		if token, err = signAccessToken(key, testIssuer, g, 1650000000, 1650000900, "AAAAAAAAAAAAAAAAAAAAAA"); err != nil {
			b.Fatal(err)
		}
	}
	sign()
	input := []byte(token[:strings.LastIndex(token, ".")])
	raw := func() { ed25519.Sign(private, input) }
	b.ReportAllocs()
	for b.Loop() {
		sign()
	}
	b.ReportMetric(ratio(sign, raw), "x-sign")
}

// ratio is the median of f's time over base's, measured in short turns in one run, because a machine is not equally fast all the time.
func ratio(f, base func()) float64 {
	timed := func(f func()) float64 {
		start := time.Now()
		for range 5 {
			f()
		}
		return float64(time.Since(start))
	}
	ratios := make([]float64, 801)
	for i := range ratios {
		ratios[i] = timed(f) / timed(base)
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

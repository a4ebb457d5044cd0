package jws

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"testing"
)

// The examples of RFC 7515 appendix A. Their tokens have no kid, so that Parse refuses them all; what is shown
// here is that the layers below it, form and signature, agree with the RFC.

const rfc7515Payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

const (
	rfc7515HS256Signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfc7515RS256Signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5" +
		"jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_" +
		"eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWk" +
		"WywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	rfc7515ES256Signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	rfc7515ES512Signature = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8G" +
		"aSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
)

// rfc7515RSAKey is the key of A.2.1: published, and so nobody's credential.
func rfc7515RSAKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{E: 65537, N: bigFrom(t, "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw"+
			"-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSX"+
			"ndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWN"+
			"moudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ")},
		D: bigFrom(t, "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46su"+
			"i395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_"+
			"0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSe"+
			"WjnczT0QU91p1DhOVRuOopznQ"),
		Primes: []*big.Int{
			bigFrom(t, "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8"+
				"cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc"),
			bigFrom(t, "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t6"+
				"2wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc"),
		},
	}
	key.Precompute()
	if err := key.Validate(); err != nil {
		t.Fatalf("the key of RFC 7515 A.2 is mistyped: %v", err)
	}
	return key
}

// rfc7515ECKey is the key of A.3.1, published likewise.
func rfc7515ECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), decodeText(t, "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"))
	if err != nil {
		t.Fatal(err)
	}
	public := ecPublic(t, "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
	if !key.PublicKey.Equal(public) {
		t.Fatal("the key of RFC 7515 A.3 is mistyped")
	}
	return key
}

func TestRFC7515_A1_HMACIsRefused(t *testing.T) {
	_, err := parseCompact("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."+rfc7515Payload+"."+rfc7515HS256Signature, new(texts))
	wantReason(t, err, ReasonAlgorithm)
}

func TestRFC7515_A2_RS256IsVerifiedAndSignedByteForByte(t *testing.T) {
	want := "eyJhbGciOiJSUzI1NiJ9." + rfc7515Payload + "." + rfc7515RS256Signature
	key := rfc7515RSAKey(t)
	token, err := parseCompact(want, new(texts))
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(RS256, key.Public(), token.SigningInput(), token.Signature()); err != nil {
		t.Error(err)
	}
	got, err := signCompact(RS256, []byte(`{"alg":"RS256"}`), token.Payload(), key)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("signed\n%s, the RFC has\n%s", got, want)
	}
	_, err = Parse(want)
	wantReason(t, err, ReasonKeyID)
}

func TestRFC7515_A3_ES256IsVerified(t *testing.T) {
	token, err := parseCompact("eyJhbGciOiJFUzI1NiJ9."+rfc7515Payload+"."+rfc7515ES256Signature, new(texts))
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(ES256, rfc7515ECKey(t).Public(), token.SigningInput(), token.Signature()); err != nil {
		t.Error(err)
	}
}

func TestRFC7515_A4_ES512IsRefused(t *testing.T) {
	_, err := parseCompact("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA."+rfc7515ES512Signature, new(texts))
	wantReason(t, err, ReasonAlgorithm)
}

func TestRFC7515_A5_UnsecuredIsRefused(t *testing.T) {
	_, err := parseCompact("eyJhbGciOiJub25lIn0."+rfc7515Payload+".", new(texts))
	wantReason(t, err, ReasonForm)
	_, err = parseCompact("eyJhbGciOiJub25lIn0."+rfc7515Payload+"."+rfc7515HS256Signature, new(texts))
	wantReason(t, err, ReasonAlgorithm)
}

func TestRFC7515_A6_JSONSerializationIsRefused(t *testing.T) {
	flat := `{"payload":"` + rfc7515Payload + `","protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},` +
		`"signature":"` + rfc7515ES256Signature + `"}`
	general := `{"payload":"` + rfc7515Payload + `","signatures":[{"protected":"eyJhbGciOiJSUzI1NiJ9","header":{"kid":"2010-12-29"},` +
		`"signature":"` + rfc7515RS256Signature + `"},{"protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},` +
		`"signature":"` + rfc7515ES256Signature + `"}]}`
	for name, token := range map[string]string{"flattened (A.7)": flat, "general (A.6)": general} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(token)
			wantReason(t, err, ReasonForm)
		})
	}
}

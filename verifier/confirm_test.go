package verifier_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/keyherald/keyherald/verifier"
)

func certificate(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// boundTo is cnf with the certificate's thumbprint (RFC 8705 §3.1).
func boundTo(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return `{"x5t#S256":"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"}`
}

func TestV19_ABoundTokenIsGoodForWhoeverShowsItsCertificate(t *testing.T) {
	v := installation(t).verifier()
	cert, other := certificate(t), certificate(t)
	for _, kind := range each {
		bound := kind.mint(t, kind.claims.with("cnf", boundTo(cert)))
		token, err := v.VerifyRequest(bound, verifier.Request{Confirm: verifier.ByCertificate(cert)})
		if err != nil || token.Confirmation == nil || token.Confirmation.CertificateSHA256 != sha256.Sum256(cert.Raw) {
			t.Errorf("with its certificate: %v", err)
		}
		for _, shown := range []*x509.Certificate{other, nil} {
			_, err := v.VerifyRequest(bound, verifier.Request{Confirm: verifier.ByCertificate(shown)})
			hasReason(t, err, verifier.ReasonBound)
		}
		free, err := v.VerifyRequest(kind.mint(t, kind.claims), verifier.Request{Confirm: verifier.ByCertificate(cert)})
		if err != nil || free.Confirmation != nil {
			t.Errorf("a bearer token of somebody who also shows a certificate: %v", err)
		}
	}
}

// Whatever is said besides, or in another way, is a binding that cannot be confirmed here.
func TestV19_ABindingThatIsNotUnderstoodIsRefused(t *testing.T) {
	v := installation(t).verifier()
	cert := certificate(t)
	good := boundTo(cert)
	anything := func(verifier.Confirmation) bool { return true }
	for _, cnf := range []string{
		`{}`, `{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, `{"x5t#s256":` + good[len(`{"x5t#S256":`):],
		good[:len(good)-1] + `,"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`,
		good[:len(good)-2] + `="}`, good[:len(good)-3] + `"}`, good[:len(good)-2] + `A"}`, `{"x5t#S256":""}`, `{"x5t#S256":1}`, `{"x5t#S256":null}`,
	} {
		_, err := v.VerifyRequest(offline(t, offlineClaims.with("cnf", cnf)), verifier.Request{Confirm: anything})
		hasReason(t, err, verifier.ReasonBound)
	}
}

func TestARequestMayNameAnotherAudience(t *testing.T) {
	v := installation(t).verifier()
	if _, err := v.VerifyRequest(offline(t, offlineClaims), verifier.Request{Audience: "https://elsewhere"}); err == nil {
		t.Error("accepted for an audience that the token does not have")
	} else {
		hasReason(t, err, verifier.ReasonAudience)
	}
	other := installation(t).verifier(func(cfg *verifier.Config) { cfg.Audience = "https://elsewhere" })
	expect(t, other, offline(t, offlineClaims), verifier.ReasonAudience)
	if _, err := other.VerifyRequest(offline(t, offlineClaims), verifier.Request{Audience: billingConfig().Audience}); err != nil {
		t.Error(err)
	}
}

func hasReason(t *testing.T, err error, want verifier.Reason) {
	t.Helper()
	var e *verifier.Error
	if !errors.As(err, &e) || e.Reason != want {
		t.Errorf("%v, want it refused for %s", err, want)
	}
}

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tokenService is one over TLS that keeps what it was sent.
type tokenService struct {
	*httptest.Server
	form url.Values
	peer []byte // the certificate of the connection, or nil
}

func newTokenService(t *testing.T) *tokenService {
	s := &tokenService{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		s.form, s.peer = r.PostForm, nil
		if len(r.TLS.PeerCertificates) > 0 {
			s.peer = r.TLS.PeerCertificates[0].Raw
		}
		_, _ = w.Write([]byte(`{"access_token":"x.y.z","token_type":"Bearer","expires_in":60}`))
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of who does not trust it
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	return writeText(t, name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func writeText(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestATokenIsRequestedWithACertificateOrAThirdPartysToken(t *testing.T) {
	s := newTokenService(t)
	own := s.TLS.Certificates[0] // any will do
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ca := writePEM(t, "ca.pem", "CERTIFICATE", s.Certificate().Raw)
	cert := writePEM(t, "cert.pem", "CERTIFICATE", own.Certificate[0])
	private := writePEM(t, "key.pem", "PRIVATE KEY", key)
	third := writeText(t, "token", "a.b.c\n")

	request := func(args ...string) (out, errs string, code int) {
		var stdout, stderr bytes.Buffer
		args = append([]string{"token", "request", "--issuer", s.URL, "--client", "orders", "--timeout", "1m"}, args...)
		code = run(t.Context(), args, stdio{in: strings.NewReader(""), out: &stdout, err: &stderr})
		return stdout.String(), stderr.String(), code
	}

	out, errs, code := request("--tls-cert", cert, "--tls-key", private, "--tls-ca", ca)
	if code != 0 || out != "x.y.z\n" {
		t.Fatalf("exit %d, printed %q\n%s", code, out, errs)
	}
	if !bytes.Equal(s.peer, own.Certificate[0]) || s.form.Encode() != "client_id=orders&grant_type=client_credentials" {
		t.Errorf("form %v, certificate sent: %v", s.form, s.peer != nil)
	}

	out, errs, code = request("--assertion-file", third, "--tls-ca", ca, "--audience", "https://billing")
	if code != 0 || out != "x.y.z\n" {
		t.Fatalf("exit %d, printed %q\n%s", code, out, errs)
	}
	if s.form.Get("client_assertion") != "a.b.c" || s.form.Get("client_id") != "orders" || s.form.Get("resource") != "https://billing" || s.peer != nil {
		t.Errorf("form %v, certificate sent: %v", s.form, s.peer != nil)
	}

	s.form = nil
	if _, errs, code = request("--assertion-file", third); code != exitFailed || s.form != nil || !strings.Contains(errs, "certificate") {
		t.Errorf("a token service with a foreign certificate: exit %d, sent %v\n%s", code, s.form, errs)
	}
	if _, errs, code = request("--tls-cert", cert, "--tls-key", private, "--tls-ca", ca, "--issuer", "http://127.0.0.1:1"); code == 0 ||
		!strings.Contains(errs, "must be https") {
		t.Errorf("a certificate over plain http: exit %d\n%s", code, errs)
	}
}

// TestAnAttemptThatTheEndOfTheTimeCutsOffDoesNotHideWhatTheTokenServiceSaid asks a node that is not ready, and later does not answer at all.
func TestAnAttemptThatTheEndOfTheTimeCutsOffDoesNotHideWhatTheTokenServiceSaid(t *testing.T) {
	t.Parallel()
	asked := 0
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 1 {
			_, _ = io.Copy(io.Discard, r.Body) // or its end is not seen
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"error":"temporarily_unavailable","error_description":"the key set is too old"}`))
	}))
	t.Cleanup(node.Close)
	_, errs, err := runCLI("", "token", "request", "--issuer", node.URL, "--client", "orders", "--assertion-file", writeText(t, "token", "x.y.z"), "--timeout", "1500ms")
	if exitOf(err) != exitFailed || strings.Count(errs, "the key set is too old") != 2 || strings.Contains(errs, "--issuer") {
		t.Errorf("%v, %d attempts:\n%s", err, asked, errs)
	}
}

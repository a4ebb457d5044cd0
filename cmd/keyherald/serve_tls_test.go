package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

// tlsIdentity is a certificate with its private key.
type tlsIdentity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newIdentity makes a certificate, signed by an authority or, if that is nil, by itself.
func newIdentity(t *testing.T, template x509.Certificate, ca *tlsIdentity) *tlsIdentity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	}
	parent, signer := &template, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tlsIdentity{cert, key}
}

func newAuthority(t *testing.T) *tlsIdentity {
	return newIdentity(t, x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
}

func newServerIdentity(t *testing.T, ca *tlsIdentity) *tlsIdentity {
	return newIdentity(t, x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, ca)
}

func (id *tlsIdentity) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw})
}

func (id *tlsIdentity) keyPEM(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// httpClient is a client that trusts a server's authority and shows a certificate, unless it is nil. It makes a connection for each request.
func httpClient(ca, shown *tlsIdentity) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	cfg := &tls.Config{RootCAs: roots}
	if shown != nil {
		cfg.Certificates = []tls.Certificate{{Certificate: [][]byte{shown.cert.Raw}, PrivateKey: shown.key}}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true, ForceAttemptHTTP2: true}, Timeout: patience}
}

func putFile(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := replaceFile(file, text); err != nil {
		t.Fatal(err)
	}
	return file
}

// tlsServe is a serve process with TLS.
type tlsServe struct {
	*process
	t                  *testing.T
	dir, url, nats     string
	serverCA, clientCA *tlsIdentity
	certFile, keyFile  string
	clientCAFile       string
}

func startTLSServe(t *testing.T) *tlsServe {
	t.Helper()
	files := t.TempDir()
	s := &tlsServe{t: t, dir: filepath.Join(t.TempDir(), "d"), serverCA: newAuthority(t), clientCA: newAuthority(t)}
	server := newServerIdentity(t, s.serverCA)
	s.certFile = putFile(t, files, "server.pem", server.certPEM())
	s.keyFile = putFile(t, files, "server.key", server.keyPEM(t))
	s.clientCAFile = putFile(t, files, "clients.pem", s.clientCA.certPEM())
	httpAddr := eventstest.FreeAddress(t)
	natsAddr := eventstest.FreeAddress(t)
	s.url, s.nats = "https://"+httpAddr, "nats://"+natsAddr
	s.process = startProcess(t, "serve", "--data", s.dir, "--http", httpAddr, "--nats-listen", natsAddr,
		"--tls-cert", s.certFile, "--tls-key", s.keyFile, "--tls-client-ca", s.clientCAFile)
	if err := waitReadyBy(t.Context(), httpClient(s.serverCA, nil), s.url); err != nil {
		s.kill()
		t.Fatalf("%v\n%s", err, s.err.String())
	}
	t.Setenv("KEYHERALD_DATA", s.dir)
	return s
}

func (s *tlsServe) cli(stdin string, args ...string) string {
	s.t.Helper()
	out, errs, err := runCLI(stdin, args...)
	if err != nil {
		s.t.Fatalf("keyherald %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return strings.TrimSpace(out)
}

// token asks for a token of a client with the certificate of an identity. It returns the token, or the error's code.
func (s *tlsServe) token(shown *tlsIdentity, client string) (token, code string) {
	s.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}}
	resp, err := httpClient(s.serverCA, shown).PostForm(s.url+"/oauth/token", form)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		s.t.Errorf("the answer came by %s", resp.Proto)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var answer struct {
		Token string `json:"access_token"`
		Code  string `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		s.t.Fatalf("%s: %v", body, err)
	}
	return answer.Token, answer.Code
}

// within waits until a condition holds.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// TestI14_V19_ATokenByCertificateIsGoodWithItsCertificateOnly goes the whole way: a certificate is registered, gets a token from a serve process
// in the TLS handshake, and a verifier accepts the token with this certificate and refuses it with any other and with none.
func TestI14_V19_ATokenByCertificateIsGoodWithItsCertificateOnly(t *testing.T) {
	s := startTLSServe(t)
	s.cli("", "client", "create", "orders", "--audience", "https://billing", "--scope", "billing:read")
	s.cli("", "client", "create", "stock", "--audience", "https://billing")
	self, other := newIdentity(t, x509.Certificate{}, nil), newIdentity(t, x509.Certificate{}, nil)
	signed := newIdentity(t, x509.Certificate{DNSNames: []string{"stock.example.com"}}, s.clientCA)
	forged := newIdentity(t, x509.Certificate{DNSNames: []string{"stock.example.com"}}, newAuthority(t))
	sum := s.cli(string(self.certPEM()), "cert", "add", "orders", "-")
	s.cli("", "cert", "subject", "stock", "--san-dns", "stock.example.com")
	v, err := verifier.Connect(t.Context(), verifier.Config{NATS: s.nats, SeedFile: filepath.Join(s.dir, "nats", string(bus.Verifier)+".nk"), Audience: "https://billing"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()

	for client, shown := range map[string]*tlsIdentity{"orders": self, "stock": signed} {
		within(t, client+" gets a token", func() bool { token, _ := s.token(shown, client); return token != "" })
		token, _ := s.token(shown, client)
		accepted, err := v.VerifyRequest(token, verifier.Request{Confirm: verifier.ByCertificate(shown.cert)})
		if err != nil || accepted.Client.String() != client || accepted.Confirmation == nil {
			t.Errorf("%s: token %+v, error %v", client, accepted, err)
		}
		for name, confirm := range map[string]func(verifier.Confirmation) bool{
			"a bearer token": nil, "another certificate": verifier.ByCertificate(other.cert), "no certificate": verifier.ByCertificate(nil),
		} {
			_, err := v.VerifyRequest(token, verifier.Request{Confirm: confirm})
			var e *verifier.Error
			if !errors.As(err, &e) || e.Reason != verifier.ReasonBound {
				t.Errorf("%s, as %s: %v, want it refused as bound", client, name, err)
			}
		}
	}
	for _, c := range []struct {
		name, client string
		shown        *tlsIdentity
	}{
		{"another certificate", "orders", other}, {"no certificate", "orders", nil}, {"another client's", "stock", self}, {"an authority's, for who is pinned", "orders", signed},
		{"the subject, of another authority", "stock", forged}, {"no client_id", "", self},
	} {
		if token, code := s.token(c.shown, c.client); token != "" || code != "invalid_client" {
			t.Errorf("%s: token %q, error %q", c.name, token, code)
		}
	}

	// The command line requests and verifies such a token, too.
	files := t.TempDir()
	certFile := putFile(t, files, "orders.pem", self.certPEM())
	token := s.cli("", "token", "request", "--issuer", s.url, "--client", "orders", "--tls-cert", certFile,
		"--tls-key", putFile(t, files, "orders.key", self.keyPEM(t)), "--tls-ca", putFile(t, files, "ca.pem", s.serverCA.certPEM()))
	if out := s.cli(token, "token", "verify", "--audience", "https://billing", "--cert", certFile); !strings.Contains(out, sum) {
		t.Errorf("claims without the certificate %s: %s", sum, out)
	}
	if _, errs, err := runCLI(token, "token", "verify", "--audience", "https://billing"); err == nil || !strings.Contains(errs, "refused") {
		t.Errorf("verified without the certificate: %v, %s", err, errs)
	}

	s.cli("", "cert", "remove", "orders", "--", sum)
	within(t, "a removed certificate is refused", func() bool { _, code := s.token(self, "orders"); return code == "invalid_client" })
	s.cli("", "client", "disable", "stock")
	within(t, "a disabled client is refused", func() bool { _, code := s.token(signed, "stock"); return code == "invalid_client" })
}

// TestRenewedFilesAreServedWithoutARestart replaces the server's certificate and the clients' authority under a running process.
func TestRenewedFilesAreServedWithoutARestart(t *testing.T) {
	s := startTLSServe(t)
	s.cli("", "client", "create", "stock", "--audience", "https://billing")
	s.cli("", "cert", "subject", "stock", "--san-dns", "stock.example.com")
	old := newIdentity(t, x509.Certificate{DNSNames: []string{"stock.example.com"}}, s.clientCA)
	within(t, "a token", func() bool { token, _ := s.token(old, "stock"); return token != "" })

	served := func() *x509.Certificate {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), httpClient(s.serverCA, nil).Transport.(*http.Transport).TLSClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	renewed, next := newServerIdentity(t, s.serverCA), newAuthority(t)
	dir := filepath.Dir(s.certFile)
	putFile(t, dir, "clients.pem", next.certPEM())
	putFile(t, dir, "server.pem", renewed.certPEM())
	putFile(t, dir, "server.key", renewed.keyPEM(t))
	within(t, "the new certificate is served", func() bool { return served().Equal(renewed.cert) })
	young := newIdentity(t, x509.Certificate{DNSNames: []string{"stock.example.com"}}, next)
	if token, code := s.token(young, "stock"); token == "" {
		t.Errorf("of the new authority: error %q", code)
	}
	if token, code := s.token(old, "stock"); token != "" || code != "invalid_client" {
		t.Errorf("of the old authority: token %q, error %q", token, code)
	}
}

// TestI14_AForwardedCertificateNeedsAPinnedProxy sends the header to two serve processes on one NATS: for one of them this machine is a
// proxy, for the other it is not.
func TestI14_AForwardedCertificateNeedsAPinnedProxy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	direct := eventstest.FreeAddress(t)
	behind := eventstest.FreeAddress(t)
	natsAddr := eventstest.FreeAddress(t)
	startServe(t, dir, direct, natsAddr)
	t.Setenv("KEYHERALD_DATA", dir)
	p := startProcess(t, "serve", "--nats", "nats://"+natsAddr, "--nkey", filepath.Join(dir, "nats", "issuer.nk"), "--http", behind, "--issuer", "http://"+direct,
		"--trusted-proxy", "127.0.0.1", "--client-cert-header", "Client-Cert")
	p.waitReady(t, behind)
	client := newIdentity(t, x509.Certificate{}, nil)
	for _, args := range [][]string{{"client", "create", "orders", "--audience", "https://billing"}, {"cert", "add", "orders", "-"}} {
		if _, errs, err := runCLI(string(client.certPEM()), args...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, errs)
		}
	}
	send := func(addr string, values ...string) (status int, body string) {
		t.Helper()
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"orders"}}
		r, err := http.NewRequestWithContext(context.Background(), "POST", "http://"+addr+"/oauth/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-For", "203.0.113.9, 198.51.100.1")
		r.Header["Client-Cert"] = values
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	header := strings.ReplaceAll(url.QueryEscape(string(client.certPEM())), "+", "%20")
	within(t, "a token", func() bool { status, _ := send(behind, header); return status == 200 })
	for _, c := range []struct {
		name, addr string
		values     []string
		status     int
	}{
		{"not from a proxy", direct, []string{header}, 401}, {"two headers", behind, []string{header, header}, 400},
		{"half a header", behind, []string{header[:len(header)/2]}, 400}, {"no header", behind, nil, 401},
	} {
		if status, body := send(c.addr, c.values...); status != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.name, status, c.status, body)
		}
	}
	p.kill()
	if log := p.err.String(); !strings.Contains(log, `"address":"198.51.100.1"`) || strings.Contains(log, "203.0.113.9") {
		t.Errorf("the audit lines do not have the sender's address: %s", p.err.String())
	}
}

func TestFlagsOfTheEdgeThatDoNotGoTogetherAreRefused(t *testing.T) {
	dir := t.TempDir()
	id := newServerIdentity(t, nil)
	cert, key := putFile(t, dir, "a.pem", id.certPEM()), putFile(t, dir, "a.key", id.keyPEM(t))
	otherKey := putFile(t, dir, "b.key", newServerIdentity(t, nil).keyPEM(t))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--tls-cert " + cert, exitUsage, "--tls-cert and --tls-key go together"},
		{"--tls-key " + key, exitUsage, "--tls-cert and --tls-key go together"},
		{"--client-cert-header Client-Cert", exitUsage, "goes with --trusted-proxy"},
		{"--tls-client-ca " + cert, exitUsage, "goes with --tls-cert or --client-cert-header"},
		{"--tls-client-ca " + cert + " --trusted-proxy 10.0.0.1", exitUsage, "goes with --tls-cert or --client-cert-header"},
		{"--tls-cert " + cert + " --tls-key " + key + " --issuer http://127.0.0.1:1", exitUsage, "it begins with https"},
		{"--trusted-proxy example.com", exitUsage, `"example.com" is neither an address nor a network`},
		{"--trusted-proxy 0.0.0.0/0", exitUsage, "is everybody"},
		{"--trusted-proxy ::/0", exitUsage, "is everybody"},
		{"--trusted-proxy 10.0.0.1 --client-cert-header Client:Cert", exitUsage, "not the name of a header"},
		{"--tls-cert " + cert + " --tls-key " + otherKey, exitFailed, "private key does not match"},
		{"--tls-cert " + cert + " --tls-key nowhere.key", exitFailed, "nowhere.key: no such file"},
		{"--tls-cert " + cert + " --tls-key " + key + " --tls-client-ca " + key, exitFailed, "has no certificate in PEM"},
		{"--tls-cert " + cert + " --tls-key " + key + " --tls-client-ca nowhere.pem", exitFailed, "nowhere.pem: no such file"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"serve", "--data", filepath.Join(dir, "d")}, strings.Fields(c.args)...), stdio{in: os.Stdin, out: &out, err: &out})
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit %d, want %d, and %q in\n%s", c.args, code, c.code, c.want, out.String())
		}
	}
}

func TestADigestIsReadInTheFormsThatToolsPrint(t *testing.T) {
	want := [32]byte{0: 0xab, 31: 0xcd}
	digits := fmt.Sprintf("%x", want)
	var colons []string
	for i := 0; i < len(digits); i += 2 {
		colons = append(colons, strings.ToUpper(digits[i:i+2]))
	}
	for _, text := range []string{"qwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM0", digits, strings.Join(colons, ":")} {
		if got, err := parseSHA256(text); err != nil || got != want {
			t.Errorf("%s: %x, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", digits[1:], digits + "00", "qwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM0=", "qwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM1", "qwAAAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAM0"} {
		if got, err := parseSHA256(text); exitCode(err) != exitUsage {
			t.Errorf("%q: %x, %v", text, got, err)
		}
	}
}

package embedded_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestServerListensOnLoopbackOnly(t *testing.T) {
	s := start(t, embedded.Config{})
	if !s.Addr().Addr().IsLoopback() || s.Addr().Port() == 0 {
		t.Errorf("listens on %s", s.Addr())
	}
	if want := fmt.Sprintf("nats://%s", s.Addr()); s.URL() != want {
		t.Errorf("URL is %s, want %s", s.URL(), want)
	}
}

func TestRestartKeepsRecordsKeysAndPort(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := start(t, embedded.Config{Dir: dir, Listen: eventstest.FreeAddress(t)})
	revision := connect(t, first, bus.Operator).put(t, bus.Keys, "key.orders.k1", "{}")
	keys := map[bus.Role]string{}
	for _, role := range bus.Roles() {
		keys[role] = readFile(t, first.KeyFile(role))
	}
	address := first.Addr().String()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := start(t, embedded.Config{Dir: dir, Listen: address})
	if second.Addr().String() != address {
		t.Errorf("listens on %s, before on %s", second.Addr(), address)
	}
	for role, seed := range keys {
		if readFile(t, second.KeyFile(role)) != seed {
			t.Errorf("the key of %s is another one", role)
		}
	}
	operator := connect(t, second, bus.Operator)
	if got := operator.get(t, bus.Keys, "key.orders.k1"); got != "{}" {
		t.Errorf("record is %q", got)
	}
	if next := operator.put(t, bus.Keys, "key.orders.k2", "{}"); next != revision+1 {
		t.Errorf("next revision is %d, want %d", next, revision+1)
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, embedded.Config{Dir: dir})
	for _, path := range []string{dir, filepath.Join(dir, "nats")} {
		if mode := stat(t, path).Mode().Perm(); mode != 0o700 {
			t.Errorf("%s has mode %04o", path, mode)
		}
	}
	for _, role := range bus.Roles() {
		path := s.KeyFile(role)
		if path != filepath.Join(dir, "nats", string(role)+".nk") {
			t.Errorf("key file of %s is %s", role, path)
		}
		if mode := stat(t, path).Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %04o", path, mode)
		}
		pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(readFile(t, path))))
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if s.InboxPrefix(role) != bus.InboxPrefix(public) {
			t.Errorf("inbox prefix of %s is %s", role, s.InboxPrefix(role))
		}
	}
}

func TestNobodyGetsInWithoutACredential(t *testing.T) {
	s := start(t, embedded.Config{})
	stranger, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := stranger.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	connect(t, s, bus.Verifier) // the address is right
	for name, options := range map[string][]nats.Option{
		"no credential":         nil,
		"a name and a password": {nats.UserInfo("operator", "operator")},
		"a token":               {nats.Token("s3cr3t")},
		"an unknown nkey":       {nats.Nkey(public, stranger.Sign)},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := nats.Connect(s.URL(), append(options, nats.Timeout(patience))...)
			if err == nil {
				conn.Close()
				t.Fatal("got in")
			}
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Error(err)
			}
		})
	}
}

// The server's default, 1,000 consumers a stream, would lock out the verifier after that.
func TestN_MoreThanAThousandWatchersFitOnABucket(t *testing.T) {
	s := start(t, embedded.Config{})
	verifier := connect(t, s, bus.Verifier)
	stream, err := verifier.js.Stream(t.Context(), bus.Keys.Stream())
	if err != nil {
		t.Fatal(err)
	}
	const watchers = 1100
	for i := range watchers {
		_, err := stream.CreateOrUpdatePushConsumer(t.Context(), jetstream.ConsumerConfig{
			Name:           fmt.Sprintf("w%d", i),
			FilterSubject:  bus.Keys.Filter(),
			DeliverSubject: fmt.Sprintf("%s.%d", s.InboxPrefix(bus.Verifier), i),
			AckPolicy:      jetstream.AckNonePolicy,
			MemoryStorage:  true,
		})
		if err != nil {
			t.Fatalf("watcher %d: %v", i+1, err)
		}
	}
}

func TestCloseReturnsWhenTheServerIsGoneAndMayBeRepeated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, embedded.Config{Dir: dir, Listen: eventstest.FreeAddress(t)})
	conn := connect(t, s, bus.Verifier, nats.NoReconnect())
	address := s.Addr().String()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if c, err := net.Dial("tcp", address); err == nil { // whichever of the three calls returned
				_ = c.Close()
				t.Error("somebody still listens")
			}
		})
	}
	wg.Wait()
	if _, err := conn.Request("$JS.API.STREAM.INFO.KV_KEYS", nil, time.Second); err == nil {
		t.Error("the server still answers")
	}
	if _, err := s.InProcessConn(); err == nil {
		t.Error("the server still takes connections")
	}
	start(t, embedded.Config{Dir: dir, Listen: address})
}

func TestTLSIsDemandedWhenConfigured(t *testing.T) {
	cert, pool := certificate(t)
	s := start(t, embedded.Config{Listen: "localhost:0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	if want := fmt.Sprintf("tls://localhost:%d", s.Addr().Port()); s.URL() != want {
		t.Errorf("URL is %s, want %s", s.URL(), want)
	}
	roots := nats.Secure(&tls.Config{RootCAs: pool})
	connect(t, s, bus.Operator, roots).put(t, bus.Keys, "issuer.orders", "{}")

	credential, err := nats.NkeyOptionFromSeed(s.KeyFile(bus.Operator))
	if err != nil {
		t.Fatal(err)
	}
	// A client that does not know the certificate is turned away by itself, one that speaks plain text by the server.
	if conn, err := nats.Connect(s.URL(), credential); err == nil {
		conn.Close()
		t.Error("connected without knowing the certificate")
	}
	raw, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Write([]byte("CONNECT {}\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	var answer bytes.Buffer
	_, _ = answer.ReadFrom(raw)
	if strings.Contains(answer.String(), "PONG") {
		t.Errorf("plain text was answered: %s", answer.String())
	}
}

func TestANonLoopbackAddressWorksWithTLS(t *testing.T) {
	cert, pool := certificate(t)
	s := start(t, embedded.Config{Listen: "0.0.0.0:0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	if want := fmt.Sprintf("tls://127.0.0.1:%d", s.Addr().Port()); s.URL() != want {
		t.Errorf("URL is %s, want %s", s.URL(), want)
	}
	connect(t, s, bus.Verifier, nats.Secure(&tls.Config{RootCAs: pool}))
}

func TestLogIsWrittenAtDebugAndRefusalsAtWarn(t *testing.T) {
	var out eventstest.Log
	s := start(t, embedded.Config{Logger: zerolog.New(&out)})
	verifier := connect(t, s, bus.Verifier)
	if err := verifier.Publish("$KV.KEYS.key.orders.k1", nil); err != nil {
		t.Fatal(err)
	}
	verifier.refusal(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var warned bool
	for line := range strings.Lines(out.String()) {
		mustContain(t, line, `"component":"nats-server"`)
		switch {
		case strings.Contains(line, "Publish Violation"):
			warned = true
			mustContain(t, line, `"level":"warn"`)
		case strings.Contains(line, "Starting nats-server"):
			mustContain(t, line, `"level":"debug"`)
		}
	}
	if !warned || !strings.Contains(out.String(), "Starting nats-server") {
		t.Errorf("log lacks the start or the refusal:\n%s", out.String())
	}
	for _, role := range bus.Roles() {
		if seed := strings.TrimSpace(readFile(t, s.KeyFile(role))); strings.Contains(out.String(), seed) {
			t.Errorf("the seed of %s is in the log", role)
		}
	}
}

func TestAStoreCanBeFilledWithoutSyncAndOpenedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	fast := start(t, embedded.Config{Dir: dir, SyncInterval: time.Minute})
	operator := connect(t, fast, bus.Operator)
	for i := range 1000 {
		if _, err := operator.js.PublishAsync(bus.Keys.Subject(fmt.Sprintf("key.orders.k%d", i)), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-operator.js.PublishAsyncComplete():
	case <-time.After(patience):
		t.Fatal("not all was acknowledged")
	}
	if err := fast.Close(); err != nil {
		t.Fatal(err)
	}
	again := connect(t, start(t, embedded.Config{Dir: dir}), bus.Operator)
	if revision := again.put(t, bus.Keys, "key.orders.last", "{}"); revision != 1001 {
		t.Errorf("revision after 1000 writes is %d", revision)
	}
}

// certificate makes a self-signed one for localhost and 127.0.0.1.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

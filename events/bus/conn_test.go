package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

// nobody is an address on which nothing listens.
const nobody = "nats://127.0.0.1:1"

func seedFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func strangersSeed(t *testing.T) string {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return seedFile(t, string(seed))
}

func TestConnectSaysWhatWasWrong(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	operator := n.KeyFile(bus.Operator)
	for what, c := range map[string]struct {
		cfg  bus.Config
		want error // nil: any
		text string
	}{
		"no server":                  {bus.Config{URL: nobody}, bus.ErrUnreachable, "is keyherald serve running there?"},
		"a password in the address":  {bus.Config{URL: "nats://alice:s3cret@127.0.0.1:1,nats://127.0.0.1:1"}, bus.ErrUnreachable, "connecting to nats://127.0.0.1:1,nats://127.0.0.1:1:"},
		"no credential":              {bus.Config{URL: n.URL()}, bus.ErrPermission, "the server refused the credential"},
		"a stranger's credential":    {bus.Config{URL: n.URL(), SeedFile: strangersSeed(t)}, bus.ErrPermission, "the server refused the credential"},
		"a stranger who would wait":  {bus.Config{URL: n.URL(), SeedFile: strangersSeed(t), Wait: true}, bus.ErrPermission, "the server refused the credential"},
		"two credentials":            {bus.Config{URL: n.URL(), SeedFile: operator, CredsFile: operator}, nil, "use one"},
		"a file that is not there":   {bus.Config{URL: n.URL(), SeedFile: filepath.Join(t.TempDir(), "none")}, os.ErrNotExist, "reading the nkey seed file"},
		"a file with something else": {bus.Config{URL: n.URL(), SeedFile: seedFile(t, "hunter2")}, nil, "has no nkey seed in it"},
		"no file of authorities":     {bus.Config{URL: n.URL(), SeedFile: operator, CAFile: filepath.Join(t.TempDir(), "none")}, os.ErrNotExist, "reading the authorities of NATS servers"},
		"no authority in the file":   {bus.Config{URL: n.URL(), SeedFile: operator, CAFile: operator}, nil, "reading the authorities of NATS servers"},
		"no TLS, with an authority":  {bus.Config{URL: n.URL(), SeedFile: operator, CAFile: authority(t)}, bus.ErrUntrusted, "it has no TLS"},
		"credentials without a seed": {bus.Config{URL: n.URL(), CredsFile: seedFile(t, "hunter2")}, nil, "has no credentials in it"},
	} {
		conn, err := bus.Connect(soon(t), c.cfg)
		if err == nil {
			conn.Close()
			t.Errorf("%s: connected", what)
			continue
		}
		if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", what, err)
		}
		if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: there is a secret in %v", what, err)
		}
	}
}

func TestConnectWaitsAsLongAsItMay(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := bus.Connect(ctx, bus.Config{URL: nobody, Wait: true})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bus.ErrUnreachable) {
		t.Errorf("error is %v", err)
	}
}

func TestConnectionsHaveAPrivateInbox(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	prefixes := map[string]bus.Role{}
	for _, role := range bus.Roles() {
		conn := n.Connect(role)
		prefix := conn.InboxPrefix()
		if other, ok := prefixes[prefix]; ok || !strings.HasPrefix(prefix, "_INBOX_U") {
			t.Errorf("the inbox of %s is %s, like that of %q", role, prefix, other)
		}
		prefixes[prefix] = role
		if !strings.HasPrefix(conn.URL(), "nats://127.0.0.1:") {
			t.Errorf("the address is %s", conn.URL())
		}
	}
}

// authority is a file with the certificate of one that has signed nothing.
func authority(t *testing.T) string {
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
	return seedFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func TestAServerInThisProcessNeedsNoNetworkAndNoCertificate(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return nil, errors.New("nobody may ask for it")
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := bus.Connect(t.Context(), bus.Config{Server: server, SeedFile: server.KeyFile(bus.Operator)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Put(soon(t), bus.Put{Bucket: bus.Keys, Name: "issuer.orders", Value: []byte("{}")}); err != nil {
		t.Error(err)
	}
	if _, err := bus.Connect(soon(t), bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Operator)}); err == nil {
		t.Error("over the network it needs no certificate either")
	}
}

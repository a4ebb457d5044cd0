package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

// natsTLSName is the name by which the server is known to others. Nobody can look it up here.
const natsTLSName = "nats.keyherald.test"

// TestN_OneNATSWithTLSOnAllInterfacesServesEveryCommand starts a server whose certificate has no address in it, and one node more on it. Nothing
// that connects gets by without TLS, or without the authority.
func TestN_OneNATSWithTLSOnAllInterfacesServesEveryCommand(t *testing.T) {
	t.Parallel()
	files, dir := t.TempDir(), filepath.Join(t.TempDir(), "d")
	ca := newAuthority(t)
	named := newIdentity(t, x509.Certificate{DNSNames: []string{natsTLSName}}, ca)
	caFile := putFile(t, files, "ca.pem", ca.certPEM())
	cert, key := putFile(t, files, "nats.pem", named.certPEM()), putFile(t, files, "nats.key", named.keyPEM(t))
	httpAddr, natsAddr := eventstest.FreeAddress(t), eventstest.FreeAddress(t)
	_, port, err := net.SplitHostPort(natsAddr)
	if err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "serve", "--data", dir, "--http", httpAddr, "--nats-listen", "0.0.0.0:"+port,
		"--nats-tls-cert", cert, "--nats-tls-key", key, "--nats-tls-ca", caFile)
	p.waitReady(t, httpAddr)
	if said := p.err.String(); !strings.Contains(said, "nats --server tls://"+natsTLSName+":"+port+" --tlsca "+caFile+" --nkey") {
		t.Errorf("it does not say how to connect with the nats command:\n%s", said)
	}

	// Commands on the same machine know all of it from the data directory.
	if out, errs, err := runCLI("", "client", "create", "orders", "--data", dir, "--audience", "https://billing"); err != nil || out != "orders\n" {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	_, gate := launchGate(t, "--data", dir)
	within(t, "the gate has the key set", func() bool { return statusOf(gate, "/readyz") == 200 })

	// A verifier elsewhere says whom it trusts.
	seed := func(r bus.Role) string { return filepath.Join(dir, "nats", string(r)+".nk") }
	v, err := verifier.Connect(t.Context(), verifier.Config{
		NATS: "tls://" + natsAddr, CAFile: caFile, ServerName: natsTLSName, SeedFile: seed(bus.Verifier), Audience: "https://billing",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()

	status := []string{"status", "--nats", "tls://" + natsAddr, "--nkey", seed(bus.Operator)}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"without the authority":   {status, "cannot be trusted"},
		"by another name":         {append(status, "--nats-tls-ca", caFile), "doesn't contain any IP SANs"},
		"of another authority":    {append(status, "--nats-tls-ca", putFile(t, files, "other.pem", newAuthority(t).certPEM())), "cannot be trusted"},
		"without an authority":    {append(status, "--nats-tls-ca", key), "reading the authorities of NATS servers"},
		"as if there was no TLS":  {[]string{"status", "--nats", "nats://" + natsAddr, "--nkey", seed(bus.Operator)}, "cannot be trusted"},
		"init, with an authority": {[]string{"init", "--check", "--nats", "tls://" + natsAddr, "--nats-tls-ca", key}, "reading the authorities"},
	} {
		out, errs, err := runCLI("", c.args...)
		if exitOf(err) != exitFailed || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %v\n%s%s", name, err, out, errs)
		}
		if strings.Contains(c.want, "trusted") && (!strings.Contains(errs, "hint: give the file with the authority") || strings.Contains(errs, "waiting up to")) {
			t.Errorf("%s: no hint, or it waited: %s", name, errs)
		}
	}
}

// TestN_OtherNodesTrustTheAuthorityGivenAndARenewedCertificateIsServed renews authority and certificate under a serve and a node on it.
func TestN_OtherNodesTrustTheAuthorityGivenAndARenewedCertificateIsServed(t *testing.T) {
	t.Parallel()
	files, dir := t.TempDir(), filepath.Join(t.TempDir(), "d")
	ca := newAuthority(t)
	first := newServerIdentity(t, ca)
	caFile := putFile(t, files, "ca.pem", ca.certPEM())
	cert, key := putFile(t, files, "nats.pem", first.certPEM()), putFile(t, files, "nats.key", first.keyPEM(t))
	httpAddr, natsAddr, nodeAddr := eventstest.FreeAddress(t), eventstest.FreeAddress(t), eventstest.FreeAddress(t)
	startProcess(t, "serve", "--data", dir, "--http", httpAddr, "--nats-listen", natsAddr,
		"--nats-tls-cert", cert, "--nats-tls-key", key, "--nats-tls-ca", caFile).waitReady(t, httpAddr)
	seed := func(r bus.Role) string { return filepath.Join(dir, "nats", string(r)+".nk") }
	startProcess(t, "serve", "--nats", "tls://"+natsAddr, "--nats-tls-ca", caFile, "--nkey", seed(bus.Issuer), "--registry-nkey", seed(bus.Operator),
		"--data", filepath.Join(t.TempDir(), "d"), "--http", nodeAddr, "--issuer", "http://"+httpAddr).waitReady(t, nodeAddr)
	if out, errs, err := runCLI("", "init", "--check", "--nats", "tls://"+natsAddr, "--nats-tls-ca", caFile, "--nkey", seed(bus.Operator)); err != nil {
		t.Errorf("init: %v\n%s%s", err, out, errs)
	}
	if _, errs, err := runCLI("", "bench", "propagate", "--nats", "tls://"+natsAddr, "--nats-tls-ca", caFile, "--nkey", seed(bus.Operator), "--verifiers", "2", "--changes", "2"); err != nil {
		t.Errorf("bench: %v\n%s", err, errs)
	}

	connection, err := bus.Connect(t.Context(), bus.Config{URL: "tls://" + natsAddr, CAFile: caFile, SeedFile: seed(bus.Verifier)})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	next := newAuthority(t)
	second := newServerIdentity(t, next)
	putFile(t, files, "nats.key", second.keyPEM(t)) // for a while the two do not belong together
	putFile(t, files, "nats.pem", second.certPEM())
	putFile(t, files, "ca.pem", next.certPEM())
	within(t, "the new certificate is served", func() bool {
		conn, err := bus.Connect(t.Context(), bus.Config{URL: "tls://" + natsAddr, CAFile: caFile, SeedFile: seed(bus.Verifier)})
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	if _, err := connection.Source(bus.Keys).State(t.Context()); err != nil {
		t.Errorf("a connection made before is lost: %v", err)
	}
	if out, errs, err := runCLI("", "status", "--data", dir); err != nil {
		t.Errorf("commands on this machine do not trust it: %v\n%s%s", err, out, errs)
	}
}

func TestFlagsOfNATSWithTLSThatDoNotGoTogetherAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id := newServerIdentity(t, nil)
	cert, key := putFile(t, dir, "a.pem", id.certPEM()), putFile(t, dir, "a.key", id.keyPEM(t))
	old := newIdentity(t, x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Minute)}, nil)
	oldCert, oldKey := putFile(t, dir, "old.pem", old.certPEM()), putFile(t, dir, "old.key", old.keyPEM(t))
	other := putFile(t, dir, "other.pem", newAuthority(t).certPEM())
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--nats-tls-cert " + cert, exitUsage, "--nats-tls-cert and --nats-tls-key go together"},
		{"--nats-tls-key " + key, exitUsage, "--nats-tls-cert and --nats-tls-key go together"},
		{"--nats-tls-cert " + cert + " --nats-tls-key " + key + " --nats tls://127.0.0.1:1", exitUsage, "do not go with --nats"},
		{"--nats-tls-ca " + cert, exitUsage, "--nats-tls-ca goes with --nats, or with"},
		{"--nats-tls-cert " + cert + " --nats-tls-key nowhere.key", exitFailed, "nowhere.key: no such file"},
		{"--nats tls://127.0.0.1:1 --nats-tls-ca nowhere.pem", exitFailed, "nowhere.pem: no such file"},
		{"--nats-listen 0.0.0.0:0", exitFailed, "without TLS"},
		{"--nats-tls-cert " + oldCert + " --nats-tls-key " + oldKey, exitFailed, "--nats-tls-cert and --nats-tls-key: the certificate in file " + oldCert + " has expired on 2"},
		{"--nats-tls-cert " + cert + " --nats-tls-key " + key + " --nats-tls-ca " + other, exitFailed, "hint: give a certificate that one of them has signed"},
		{"--tls-cert " + oldCert + " --tls-key " + oldKey + " --issuer https://127.0.0.1:1", exitFailed, "--tls-cert and --tls-key: the certificate in file " + oldCert + " has expired on 2"},
	} {
		var out bytes.Buffer
		args := append([]string{"serve", "--data", filepath.Join(dir, "d"), "--http", "127.0.0.1:0", "--issuer", "http://127.0.0.1:1"}, strings.Fields(c.args)...)
		ctx, cancel := context.WithTimeout(t.Context(), patience) // what is not refused is served
		code := run(ctx, args, stdio{in: os.Stdin, out: &out, err: &out})
		cancel()
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit %d, want %d, and %q in\n%s", c.args, code, c.code, c.want, out.String())
		}
	}
}

// TestN_ACertificateThatNoClientAcceptsIsNotServed tries each at the start, and puts it in the place of one that is served.
func TestN_ACertificateThatNoClientAcceptsIsNotServed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	past, ended, soon, later := now.Add(-time.Hour), now.Add(-time.Minute), now.Add(30*time.Minute), now.Add(time.Hour)
	authority := func(from, to time.Time, parent *tlsIdentity) *tlsIdentity {
		return newIdentity(t, x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: to,
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, parent)
	}
	ca, other := authority(past, later, nil), authority(past, later, nil)
	between, endedBetween := authority(past, later, ca), authority(past, ended, ca)
	server := func(from, to time.Time, by *tlsIdentity) *tlsIdentity {
		return newIdentity(t, x509.Certificate{NotBefore: from, NotAfter: to}, by)
	}
	for name, c := range map[string]struct {
		id    *tlsIdentity
		chain []byte
		noCA  bool
		want  string // empty: it is served
	}{
		"signed by the authority":            {id: server(past, later, ca)},
		"through one between":                {id: server(past, later, between), chain: between.certPEM()},
		"of anybody, and no --nats-tls-ca":   {id: server(past, later, nil), noCA: true},
		"expired":                            {id: server(past, ended, ca), want: "has expired on "},
		"expired, and no --nats-tls-ca":      {id: server(past, ended, nil), noCA: true, want: "has expired on "},
		"not yet valid":                      {id: server(soon, later, ca), want: "is valid from "},
		"not yet valid, without authority":   {id: server(soon, later, nil), noCA: true, want: "and until then no client accepts it"},
		"of another authority":               {id: server(past, later, other), want: "no client that trusts the authorities in file "},
		"by one between that has expired":    {id: server(past, later, endedBetween), chain: endedBetween.certPEM(), want: `that of its authority "CN=authority" is valid from `},
		"by one between that is not in file": {id: server(past, later, between), want: "signed by unknown authority"},
	} {
		dir := t.TempDir()
		first := server(past, later, ca)
		f := natsTLSFlags{NATSTLSCert: putFile(t, dir, "a.pem", first.certPEM()), NATSTLSKey: putFile(t, dir, "a.key", first.keyPEM(t))}
		if !c.noCA {
			f.NATSTLSCA = putFile(t, dir, "ca.pem", ca.certPEM())
		}
		served, err := f.open()
		if err != nil {
			t.Fatal(err)
		}
		putFile(t, dir, "a.key", c.id.keyPEM(t))
		putFile(t, dir, "a.pem", append(c.id.certPEM(), c.chain...))
		var log bytes.Buffer
		for range 3 {
			served.look(zerolog.New(&log))
		}
		want := first
		if c.want == "" {
			want = c.id
		}
		if !served.value.Load().Leaf.Equal(want.cert) || c.want != "" && !strings.Contains(log.String(), `"level":"error"`) ||
			strings.Count(log.String(), "\n") != 1 || !strings.Contains(strings.ReplaceAll(log.String(), `\"`, `"`), c.want) {
			t.Errorf("%s: after the change, with %q in\n%s", name, c.want, log.String())
		}
		_, err = f.open()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || hint(err) == "") {
			t.Errorf("%s: at the start: %v, want %q and a hint", name, err, c.want)
		}
	}
}

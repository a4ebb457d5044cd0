package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// TestSetup builds the keyherald of this module once for all of them.
func TestSetup(t *testing.T) {
	keyherald := filepath.Join(t.TempDir(), "keyherald")
	if out, err := exec.Command("go", "build", "-o", keyherald, "github.com/keyherald/keyherald/cmd/keyherald").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, test := range map[string]func(*testing.T, setup){
		"every service gets the credentials of its role and no others": testCredentials,
		"a later start keeps the authority and the users":              testAgain,
		"certificates are good for their names and their use":          testCertificates,
		"N: the servers of the cluster are configured safely":          testServers,
	} {
		t.Run(name, func(t *testing.T) { test(t, setup{t.TempDir(), keyherald}) })
	}
}

// setup is the program, with volumes as Docker makes them.
type setup struct{ volumes, keyherald string }

// run runs it and returns all files.
func (s setup) run(t *testing.T) map[string][]byte {
	t.Helper()
	volumes := s.volumes
	for _, service := range append(services(), service{name: "setup"}) {
		if err := os.MkdirAll(filepath.Join(volumes, service.name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(volumes, s.keyherald); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	err := filepath.WalkDir(volumes, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(volumes, path)
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v (error %v)", name, info.Mode(), err)
		}
		files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func testCredentials(t *testing.T, s setup) {
	files := s.run(t)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	want := []string{
		"setup/authority.pem", "setup/init-admin.nk", "setup/issuer-1-issuer.nk", "setup/issuer-1-operator.nk", "setup/issuer-2-issuer.nk",
		"setup/billing-verifier.nk", "setup/gate-verifier.nk", "setup/operator-operator.nk",
		"init/ca.pem", "init/admin.nk", "operator/ca.pem", "operator/operator.nk", "nginx/tls.pem", "nginx/tls.key",
		"billing/ca.pem", "billing/verifier.nk", "gate/ca.pem", "gate/verifier.nk",
		"issuer-1/ca.pem", "issuer-1/issuer.nk", "issuer-1/operator.nk", "issuer-2/ca.pem", "issuer-2/issuer.nk",
	}
	for _, n := range []string{"nats-1", "nats-2", "nats-3"} {
		want = append(want, n+"/ca.pem", n+"/tls.pem", n+"/tls.key", n+"/users.conf")
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("got  %v\nwant %v", names, want)
	}
	seeds := map[string]string{}
	for name, text := range files {
		if other := seeds[string(text)]; other != "" && strings.HasSuffix(name, ".nk") && !strings.HasPrefix(name, "setup/") {
			t.Errorf("%s and %s are the same", name, other)
		}
		if !strings.HasPrefix(name, "setup/") {
			seeds[string(text)] = name
		}
		if !strings.HasPrefix(name, "setup/") && !strings.HasSuffix(name, ".key") && bytes.Contains(text, []byte("PRIVATE KEY")) {
			t.Errorf("there is a private key in %s", name)
		}
	}
}

func testAgain(t *testing.T, s setup) {
	first := s.run(t)
	if err := os.Remove(filepath.Join(s.volumes, "gate", "verifier.nk")); err != nil { // as if it had been cut off
		t.Fatal(err)
	}
	for name, text := range s.run(t) {
		isLeaf := strings.Contains(name, "/tls.")
		if same := bytes.Equal(text, first[name]); same == isLeaf {
			t.Errorf("%s: the same as before: %v", name, same)
		}
	}
}

func testCertificates(t *testing.T, s setup) {
	files := s.run(t)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files["init/ca.pem"]) {
		t.Fatal("no authority")
	}
	for service, names := range map[string][]string{"nats-1": {"nats-1", "localhost"}, "nats-3": {"nats-3", "localhost"}, "nginx": {"localhost"}} {
		pair, err := tls.X509KeyPair(files[service+"/tls.pem"], files[service+"/tls.key"])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
					t.Errorf("%s as %s: %v", service, name, err)
				}
			}
		}
		if pair.Leaf.VerifyHostname("nats-2") == nil || pair.Leaf.IsCA {
			t.Errorf("%s can pass for another one", service)
		}
	}
}

// testServers reads the configuration as nats-server does.
func testServers(t *testing.T, s setup) {
	s.run(t)
	text, err := os.ReadFile("../nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	volume := filepath.Join(s.volumes, "nats-2")
	config := strings.ReplaceAll(string(text), `"/nats/`, `"`+volume+`/`)
	config = strings.ReplaceAll(config, `"../nats/users.conf"`, `"nats-2/users.conf"`)
	file := filepath.Join(s.volumes, "nats.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_NAME", "nats-2")
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case o.ServerName != "nats-2" || !o.JetStream || !o.SyncAlways || o.StoreDir != filepath.Join(volume, "data"):
		t.Errorf("JetStream of %s: %v, in %s, synced always: %v", o.ServerName, o.JetStream, o.StoreDir, o.SyncAlways)
	case o.TLSConfig == nil || o.Cluster.TLSConfig == nil || o.Cluster.TLSConfig.ClientAuth != tls.RequireAndVerifyClientCert ||
		o.Cluster.TLSConfig.ClientCAs == nil || o.AllowNonTLS:
		t.Error("clients or servers may come without TLS, or servers without a certificate")
	case len(o.Routes) != 3 || !o.Cluster.NoAdvertise:
		t.Errorf("routes %v, not advertised: %v", o.Routes, o.Cluster.NoAdvertise)
	case o.NoAuthUser != "" || o.Websocket.Port != 0 || o.MQTT.Port != 0 || o.LeafNode.Port != 0:
		t.Error("there is a way in without a credential")
	case len(o.Nkeys) != 7:
		t.Errorf("%d users", len(o.Nkeys))
	}
	for _, u := range o.Nkeys {
		if u.Account == nil || u.Account.Name != "KEYHERALD" || u.Permissions == nil || u.Permissions.Publish == nil || len(u.Permissions.Publish.Allow) == 0 {
			t.Errorf("the user %s may do what it wants", u.Nkey)
		}
	}
}

package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestTheSidecarsNginxIsTheOneThatIsTested: it differs from deploy/gate/nginx.conf, which a test runs requests through, in where it listens, where
// the gate is and where it writes; and nginx takes it.
func TestTheSidecarsNginxIsTheOneThatIsTested(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const start, end = "    access_log /dev/stdout;\n", "    upstream gate {\n"
	ours := read("../kubernetes/gate-sidecar/nginx.conf")
	_, body, _ := strings.Cut(ours, "events {}")
	before, rest, _ := strings.Cut(body, start)
	_, after, found := strings.Cut(rest, end)
	body = before + end + after
	_, want, _ := strings.Cut(read("../gate/nginx.conf"), "events {}")
	want = strings.Replace(want, "server 127.0.0.1:9180; # or unix:/run/keyherald/gate.sock", "server unix:/run/keyherald/gate.sock;", 1)
	want = strings.Replace(want, "listen 127.0.0.1:8000;", "listen 8000;", 1)
	if !found || body != want {
		t.Errorf("gate-sidecar/nginx.conf is\n%s\nwant\n%s", body, want)
	}
	file := filepath.Join(t.TempDir(), "nginx.conf")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(ours, "/tmp/", t.TempDir()+"/")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "nginx", "-t", "-c", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// makeUsers is the command of deploy/kubernetes/README.md that makes the credentials.
var makeUsers = regexp.MustCompile(`(?m)^    keyherald (nats-config nkeys .*) > accounts\.conf$`)

// TestNATSTakesItsConfiguration, with the accounts that the README's command makes, and that makes the seeds which the README puts into secrets.
func TestNATSTakesItsConfiguration(t *testing.T) {
	binary := buildKeyherald(t)
	t.Parallel()
	readme, err := os.ReadFile("../kubernetes/README.md")
	if err != nil {
		t.Fatal(err)
	}
	command := makeUsers.FindSubmatch(readme)
	if command == nil {
		t.Fatal("the README does not say how to make credentials")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), binary, strings.Fields(string(command[1]))...)
	cmd.Dir = dir
	accounts, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"admin", "operator", "issuer", "orders"} {
		if _, err := os.Stat(filepath.Join(dir, "seeds", role+".nk")); err != nil {
			t.Error(err)
		}
	}
	config, err := os.ReadFile("../kubernetes/nats/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t)
	for name, content := range map[string]string{
		"nats.conf": strings.NewReplacer("/etc/nats-tls/", dir+"/", "$POD_NAME", "nats-0").Replace(string(config)), "accounts.conf": string(accounts),
		"tls.crt": cert, "tls.key": key, "ca.crt": cert,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts, err := server.ProcessConfigFile(filepath.Join(dir, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !opts.JetStream || !opts.SyncAlways || opts.StoreDir != "/data" || opts.ServerName != "nats-0" || opts.TLSConfig == nil {
		t.Errorf("JetStream %v, sync always %v in %s of %s, TLS %v", opts.JetStream, opts.SyncAlways, opts.StoreDir, opts.ServerName, opts.TLSConfig != nil)
	}
	if opts.Cluster.TLSConfig == nil || opts.Cluster.TLSConfig.ClientCAs == nil || len(opts.Routes) != 3 {
		t.Errorf("the cluster is %+v with %v", opts.Cluster, opts.Routes)
	}
	if len(opts.Accounts) != 1 || len(opts.Nkeys) != 4 || opts.NoAuthUser != "" {
		t.Errorf("%d accounts, %d users", len(opts.Accounts), len(opts.Nkeys))
	}
	for _, user := range opts.Nkeys {
		if user.Permissions == nil || len(user.Permissions.Publish.Allow) == 0 || len(user.Permissions.Subscribe.Allow) == 0 {
			t.Errorf("%s may do everything", user.Nkey)
		}
	}
}

// certificate makes a certificate that has signed itself.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}

package deploy

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	corev1 "k8s.io/api/core/v1"
)

// world is what the manifests are held against: the real keyherald, running.
type world struct {
	t      *testing.T
	binary string
	data   string // directory of a running serve
	issuer string // URL of a running serve
	gate   string
	nats   string // URL of NATS' monitor
	image  string // deploy/Dockerfile

	mu    sync.Mutex
	helps map[string]string
}

// buildKeyherald builds the program as it is now. go run keeps what it has linked, so that only the first of the tests waits for the linker, and
// none when nothing has changed; here it runs cp with it.
func buildKeyherald(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "keyherald")
	if out, err := exec.CommandContext(t.Context(), "go", "run", "-C", "../..", "-exec", "cp", "./cmd/keyherald", binary).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func (w *world) help(command string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.helps[command]; !known {
		out, err := exec.CommandContext(w.t.Context(), w.binary, command, "--help").Output()
		if err != nil {
			w.t.Fatal(err)
		}
		w.helps[command] = strings.Join(strings.Fields(string(out)), " ")
	}
	return w.helps[command]
}

// answers asks a running program of the same kind.
func (w *world) answers(c corev1.Container, path string) bool {
	base := map[string]string{"keyherald": w.issuer, "nats": w.nats}[c.Name]
	if c.Name == "nginx" { // which hands it on to the gate
		config, err := os.ReadFile("../kubernetes/gate-sidecar/nginx.conf")
		if err != nil || !strings.Contains(string(config), "proxy_pass http://gate"+path+";") {
			return false
		}
		base = w.gate
	}
	resp, err := http.Get(base + path)
	if err != nil {
		w.t.Error(err)
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// start starts a program until the test ends, and waits until it is ready.
func (w *world) start(ready string, args ...string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.binary, args...)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Log(said.String())
		}
	})
	w.eventually(args[0]+" is ready", func() bool {
		resp, err := http.Get(ready + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			w.t.Fatalf("it did not become so: %s", what)
		}
	}
}

// startBoth starts a node and a gate.
func (w *world) startBoth() {
	w.t.Helper()
	issuer, gate := freeAddress(w.t), freeAddress(w.t)
	w.data, w.issuer, w.gate = filepath.Join(w.t.TempDir(), "d"), "http://"+issuer, "http://"+gate
	w.start(w.issuer, "serve", "--data", w.data, "--http", issuer, "--nats-listen", "127.0.0.1:0")
	w.start(w.gate, "gate", "--data", w.data, "--listen", gate, "--audience", "https://orders", "--policy", "orders=scope:orders:read")
}

// newWorld starts them beside those of other tests.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, binary: buildKeyherald(t), helps: map[string]string{}}
	t.Parallel()
	w.startBoth()
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, HTTPHost: "127.0.0.1", HTTPPort: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(time.Minute) {
		t.Fatal("NATS does not start")
	}
	w.nats = "http://" + nats.MonitorAddr().String()
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	w.image = string(dockerfile)
	return w
}

// judge returns all that is wrong with manifests.
func (w *world) judge(text string) []string {
	m, err := decode(text)
	if err != nil {
		return []string{err.Error()}
	}
	return slices.Concat(m.checkConfined(), m.checkVolumes(), m.checkFlags(w.help), m.checkSelectors(), m.checkProbes(w.answers), m.checkReach(), m.checkImage(w.image))
}

// TestTheManifestsAreWhatTheySeem builds all of them, holds them against Kubernetes' own types and against the running programs; then it breaks
// each thing once, and that is found.
func TestTheManifestsAreWhatTheySeem(t *testing.T) {
	w := newWorld(t)
	good := build(t)
	for _, problem := range w.judge(good) {
		t.Error(problem)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"a member that there is not":     {"readinessProbe:", "readynessProbe:", "unknown field"},
		"a member twice":                 {"kind: Namespace\n", "kind: Namespace\nkind: Namespace\n", "kind"},
		"a wrong type":                   {"replicas: 3", "replicas: three", "replicas"},
		"an API that there is not":       {"policy/v1\n", "policy/v1beta1\n", "no type of this name"},
		"root":                           {"runAsUser: 65532", "runAsUser: 0", "may run as root"},
		"no seccomp":                     {"type: RuntimeDefault", "type: Unconfined", "seccomp"},
		"a token":                        {"automountServiceAccountToken: false\n      containers", "containers", "service account's token"},
		"service links":                  {"enableServiceLinks: false", "enableServiceLinks: true", "variables of Services"},
		"a writable root":                {"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "writable"},
		"privileges":                     {"allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "may grow"},
		"capabilities":                   {"- ALL", "- NET_RAW", "has capabilities"},
		"no limit":                       {"memory: 256Mi\n          requests", "cpu: 1\n          requests", "no memory limit"},
		"another role's credential":      {"secretName: keyherald-nats-issuer", "secretName: keyherald-nats-operator", "has the credentials"},
		"no volume":                      {"- emptyDir:\n          medium: Memory\n          sizeLimit: 1Mi\n        name: data", "- emptyDir: {}\n        name: date", "which is not there"},
		"a file elsewhere":               {"--nkey=/etc/keyherald/issuer/", "--nkey=/etc/issuer/", "nothing is mounted"},
		"a flag that there is not":       {"--http=0.0.0.0:8080", "--listen=0.0.0.0:8080", "no flag --listen"},
		"a variable that there is not":   {"KEYHERALD_ISSUER: ", "KEYHERALD_ISS: ", "no variable KEYHERALD_ISS"},
		"a probe of another path":        {"path: /healthz\n            port: http", "path: /livez\n            port: http", "does not answer /livez"},
		"a probe of another port":        {"path: /readyz\n            port: http", "path: /readyz\n            port: web", "asks port web"},
		"ready by being alive":           {"path: /readyz\n            port: http", "path: /healthz\n            port: http", "is ready by /healthz"},
		"no readiness":                   {"readinessProbe:\n          failureThreshold: 2\n          httpGet:\n            path: /readyz\n            port: http\n          periodSeconds: 2\n        resources:", "resources:", "no readiness probe"},
		"a Service of nothing":           {"  selector:\n    app.kubernetes.io/component: issuer", "  selector:\n    app.kubernetes.io/component: isuer", "selects the pods of 0"},
		"a port that no pod has":         {"targetPort: http", "targetPort: https", "has no port https"},
		"a budget of nothing":            {"maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/component: issuer", "maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/component: isuer", "PodDisruptionBudget"},
		"a budget that blocks":           {"maxUnavailable: 1\n  selector:", "maxUnavailable: 0\n  selector:", "PodDisruptionBudget"},
		"a policy for another port":      {"- port: 8000", "- port: 8888", "has no port"},
		"a pod that NATS keeps out":      {"keyherald/nats-client: \"true\"\n    spec:\n      automountServiceAccountToken: false\n      containers:\n      - args:\n        - serve", "x: \"true\"\n    spec:\n      automountServiceAccountToken: false\n      containers:\n      - args:\n        - serve", "not let in"},
		"another address of NATS":        {"tls://nats.keyherald.svc", "nats://nats.keyherald.svc", "NATS is at"},
		"no authority of NATS":           {"KEYHERALD_NATS_TLS_CA: /etc/keyherald/nats-ca/ca.crt", "X: x", "has the authority of NATS in \"\""},
		"another user":                   {"runAsUser: 65532", "runAsUser: 1000", "the image's user"},
		"a command":                      {"- args:\n        - serve", "- command: [/usr/bin/keyherald]\n        args:\n        - serve", "another command"},
		"an authority elsewhere":         {"KEYHERALD_NATS_TLS_CA: /etc/keyherald/nats-ca/", "KEYHERALD_NATS_TLS_CA: /etc/nats-ca/", "nothing is mounted"},
		"an authority for everything":    {"name: KEYHERALD_NATS_TLS_CA\n", "name: SSL_CERT_FILE\n", "for everything"},
		"a policy that lets nobody talk": {"- port: 4222", "- port: 4223", "may not talk to NATS"},
	} {
		bad := strings.Replace(good, c.old, c.new, -1)
		if found := strings.Join(w.judge(bad), "\n"); bad == good || found == "" || !strings.Contains(found, c.want) {
			t.Errorf("%s: found %q, want %q (replaced: %v)", name, found, c.want, bad != good)
		}
	}
}

package main_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/keyherald/keyherald/"

// layers says for every package which of our own it may import, directly, and why no more.
var layers = []struct {
	pkg string
	may []string
	why string
}{
	{"events/strictjson", nil, "the one strict JSON reader: a leaf, so that records and tokens can both use it"},
	{"events", []string{"events/strictjson"}, "the shared language: whoever imports it must not get I/O or policy with it"},
	{"events/bus", []string{"events"}, "transport: it moves records and knows nothing about tokens"},
	{"events/embedded", []string{"events/bus", "events/internal/ownfile"}, "a server in process: it knows buckets and roles, not what is in them"},
	{"events/internal/ownfile", nil, "what the two lists of users would each write once more; a leaf"},
	{"events/natsconfig", []string{"events/bus", "events/internal/ownfile"}, "configuration of other servers: text made of what the roles may do, and no I/O"},
	{"events/doctor", []string{"events", "events/bus"}, "looks at servers and buckets from outside, as whoever operates them: no server, no registry"},
	{"events/eventstest", []string{"events", "events/bus", "events/embedded"}, "test kit of the three above"},
	{"verifier/ed25519fast", nil, "arithmetic, which must agree with crypto/ed25519 and nothing else; a leaf"},
	{"verifier/jws", []string{"events/strictjson"}, "parses what strangers send: nothing that is not needed for it"},
	{"verifier/keytables", []string{"verifier/ed25519fast"}, "which keys are worth a table: it knows keys by their bytes, and no records"},
	{"verifier/snapshot", []string{"events", "events/bus"}, "a live key set with its file: what may wait and touch the disk stays out of verifier"},
	{"verifier", []string{"events", "events/bus", "verifier/jws", "verifier/keytables", "verifier/snapshot"}, "embedded in every service: it decides, and follows the bus in Connect only"},
	{"verifier/internal/bearer", []string{"events", "verifier"}, "what the adapters would each write once more; events for what a scope value is"},
	{"verifier/httpauth", []string{"verifier", "verifier/internal/bearer", "verifier/jws"}, "adapter; jws for how long a token may be"},
	{"verifier/grpcauth", []string{"verifier", "verifier/internal/bearer"}, "adapter, and the only one that brings gRPC"},
	{"verifier/metrics", []string{"verifier"}, "the only part of the verifier that brings Prometheus"},
	{"verifier/gate", []string{"verifier", "verifier/httpauth"}, "adapter"},
	{"verifier/verifiertest", []string{"verifier", "verifier/jws", "events"}, "test kit for users: a set in memory; issuer/mint has no clock that could be put forward, and makes no tokens of others"},
	{"registry", []string{"events", "events/bus", "events/strictjson"}, "the one place that may write records: it must work without a token service"},
	{"registry/admin", []string{"events", "events/bus", "events/strictjson", "registry"}, "the registry over HTTP: who calls is said by whoever wires it, so that it needs no verifier and no token service"},
	{"registry/admin/admintest", []string{"registry/admin"}, "test kit of the OpenAPI document"},
	{"registry/lastuse", []string{"events", "events/bus"}, "notes that are worth little: nothing may depend on them"},
	{"registry/refresh", []string{"events", "events/bus", "events/strictjson", "registry"}, "fetches what providers publish: who only writes records does not need it"},
	{"registry/backup", []string{"events", "events/bus", "events/strictjson", "registry"}, "writes records as the registry may, all of them, and knows their state: no token service is needed for it"},
	{"issuer/internal/claims", nil, "claims are written in one way; a leaf"},
	{"issuer/mint", []string{"events", "verifier/jws", "issuer/internal/claims"}, "embedded in every service that mints: no server code"},
	{"issuer/clientauth", []string{"events", "events/strictjson", "verifier/jws"}, "one file per credential; it reads records and does not write them"},
	{"issuer/peer", nil, "who sent a request: decided before anything else is known of it; a leaf"},
	{"issuer", []string{"events", "events/strictjson", "verifier", "verifier/jws", "registry", "issuer/clientauth", "issuer/mint", "issuer/peer", "issuer/internal/claims"},
		"the token service: it gets the bus handed in by who wires it"},
	{"deploy/compose/setup", nil, "credentials for docker-compose.yml: users and what they may do it asks of the keyherald beside it"},
	{"deploy/compose/billing", []string{"verifier", "verifier/httpauth", "verifier/metrics"}, "the example of a service: what it needs is what a service needs"},
	{"deploy/compose/legacy", nil, "the example of a service that knows nothing of tokens"},
}

// outside says who alone may import a package of somebody else.
var outside = []struct {
	prefix string
	only   []string
	why    string
}{
	{"github.com/nats-io/nats.go", []string{"events/bus", "events/eventstest"}, "one place knows the transport and its pitfalls; the test kit breaks it on purpose"},
	{"github.com/nats-io/nats-server", []string{"events/embedded"}, "30 MB of server belong to serve, and to nobody who only verifies"},
	{"github.com/nats-io/jwt", []string{"events/natsconfig"}, "who only connects has a JWT in a file, and does not read it"},
	{"github.com/alecthomas/kong", []string{"cmd/keyherald"}, "the command line is not a library"},
	{"github.com/prometheus", []string{"issuer", "verifier/metrics", "verifier/gate", "cmd/keyherald", "deploy/compose/billing"}, "metrics are for servers"},
	{"google.golang.org/grpc", []string{"verifier/grpcauth"}, "who has no gRPC must not compile it"},
	{"google.golang.org/genproto", []string{"verifier/grpcauth"}, "for one message of it, in which gRPC says when to try again"},
	{"google.golang.org/protobuf", []string{"verifier/grpcauth"}, "as gRPC: records and tokens are JSON"},
	{"golang.org/x/oauth2", []string{"issuer/mint"}, "for the shape of a token source only"},
	{"filippo.io/edwards25519", []string{"events", "verifier/ed25519fast"}, "curve points are judged in one place, at admission; what verifies with them judges nothing"},
	{"github.com/santhosh-tekuri/jsonschema", []string{"registry/admin/admintest"}, "it checks our answers in tests; requests are checked by hand, and in less code"},
	{"github.com/lestrrat-go/jwx", []string{"registry", "issuer"}, "for JWK and JWKS files only: it is lenient and slow where tokens are signed and verified"},
}

// forbidden says what must not even be an indirect dependency.
var forbidden = []struct {
	pkg    string
	prefix []string
	why    string
}{
	{"verifier", []string{"github.com/nats-io/nats-server", "github.com/prometheus", "google.golang.org/grpc", "html/template", "github.com/alecthomas/kong",
		"github.com/lestrrat-go", module + "registry", module + "issuer", module + "events/embedded"}, "a service that embeds the verifier compiles it all"},
	{"verifier/grpcauth", []string{"github.com/nats-io/nats-server", "github.com/prometheus", "go.opentelemetry.io", "github.com/lestrrat-go", module + "registry",
		module + "issuer"}, "as verifier, but for gRPC and what that brings"},
	{"verifier/verifiertest", []string{"github.com/nats-io/nats-server", "google.golang.org/grpc", "github.com/prometheus", module + "issuer"},
		"tests of services should build quickly, too"},
	{"verifier/httpauth", []string{"google.golang.org/grpc", "html/template", "github.com/prometheus"}, "as verifier"},
	{"issuer/mint", []string{"github.com/nats-io", "html/template", "github.com/lestrrat-go", "github.com/prometheus", "github.com/rs/zerolog", "cloud.google.com",
		"golang.org/x/oauth2/google", "golang.org/x/oauth2/clientcredentials"}, "embedded in every service that mints"},
	{"events", []string{"github.com/nats-io", "net/http", "os/exec", "html/template", "github.com/rs/zerolog", "github.com/lestrrat-go"}, "no I/O"},
	{"verifier/jws", []string{"net", "os/exec", "encoding/json", "filippo.io", "github.com/lestrrat-go"}, "a parser; and encoding/json is lenient where it must not be"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// ours is the path of a package within the module, or empty.
func ours(path string) string {
	within, ok := strings.CutPrefix(path, module)
	if !ok {
		return ""
	}
	return within
}

// listPackages lists what is built of the module: no test files.
func listPackages(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]goPackage{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.Imports) > 0 { // else there are only test files
			packages[ours(p.ImportPath)] = p
		}
	}
	for _, must := range []string{"events", "events/strictjson", "events/bus", "events/embedded"} {
		if len(packages[must].Deps) == 0 {
			t.Fatalf("go list does not know %s: the test would test nothing", must)
		}
	}
	return packages
}

func TestPackagesImportOnlyWhatTheirLayerMay(t *testing.T) {
	packages := listPackages(t)
	known := map[string]bool{"cmd/keyherald": true} // wires everything
	for _, layer := range layers {
		known[layer.pkg] = true
		for _, path := range packages[layer.pkg].Imports {
			if own := ours(path); own != "" && !slices.Contains(layer.may, own) {
				t.Errorf("%s imports %s: %s", layer.pkg, own, layer.why)
			}
		}
	}
	for pkg, p := range packages {
		if !known[pkg] {
			t.Errorf("%s is in no layer: say what it may import, and why", pkg)
		}
		for _, path := range p.Imports {
			if own := ours(path); own == "cmd/keyherald" || own == "events/eventstest" || own == "registry/admin/admintest" {
				t.Errorf("%s imports %s, which is for nobody's product", pkg, own)
			}
		}
	}
}

func TestLibrariesAreImportedInOnePlace(t *testing.T) {
	for pkg, p := range listPackages(t) {
		for _, path := range p.Imports {
			for _, rule := range outside {
				if within(path, rule.prefix) && !slices.Contains(rule.only, pkg) {
					t.Errorf("%s imports %s: %s", pkg, path, rule.why)
				}
			}
		}
	}
}

func TestWhatIsEmbeddedElsewhereIsSmall(t *testing.T) {
	packages := listPackages(t)
	for _, rule := range forbidden {
		for _, dep := range packages[rule.pkg].Deps {
			if slices.ContainsFunc(rule.prefix, func(prefix string) bool { return within(dep, prefix) }) {
				t.Errorf("%s pulls in %s: %s", rule.pkg, dep, rule.why)
			}
		}
	}
}

// within reports whether path is the package prefix, or below it.
func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

package issuer

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/registry/admin"
	"github.com/keyherald/keyherald/registry/admin/admintest"
)

// Every endpoint of a node is in the OpenAPI document, and what is there and not the registry's is one of a node.
func TestTheOpenAPIDocumentHasTheEndpointsOfANode(t *testing.T) {
	f := newFixture(t)
	anyName := func(s string) string { return regexp.MustCompile(`\{[A-Za-z]+\}`).ReplaceAllString(s, "{}") }
	routed := map[string]bool{"GET /openapi.json": true, "GET /metrics": true} // which the program adds
	for _, pattern := range slices.Concat(f.node.patterns, admin.Endpoints()) {
		routed[anyName(pattern)] = true
	}
	documented := map[string]bool{}
	for _, operation := range admintest.Read(t, testIssuer).Operations() {
		documented[anyName(operation)] = true
		if !routed[anyName(operation)] {
			t.Errorf("%s is documented, and there is no such endpoint", operation)
		}
	}
	for endpoint := range routed {
		if !documented[endpoint] {
			t.Errorf("%s is not documented", endpoint)
		}
	}
	if len(f.node.patterns) < 10 || !strings.HasPrefix(f.node.patterns[0], "POST ") {
		t.Errorf("the node has the patterns %q", f.node.patterns)
	}
}

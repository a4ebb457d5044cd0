package admin_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/keyherald/keyherald/registry/admin"
	"github.com/keyherald/keyherald/registry/admin/admintest"
)

// The meta-schema is that of the OpenAPI Initiative (Apache-2.0), as it is.
func TestTheOpenAPIDocumentIsOne(t *testing.T) {
	f, err := os.Open("testdata/openapi-3.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	d := admintest.Read(t, issuer)
	compiler := jsonschema.NewCompiler() // formats are not asserted: it says uri where a reference may be relative
	if err := compiler.AddResource("https://spec.openapis.org/oas/3.1/schema/2021-04-15", meta); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("https://spec.openapis.org/oas/3.1/schema/2021-04-15")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(d.Root); err != nil {
		t.Error(err)
	}
	broken := map[string]any{"openapi": "3.1.0", "info": map[string]any{"title": "x"}, "paths": map[string]any{}}
	if err := schema.Validate(broken); err == nil {
		t.Error("the meta-schema takes a document without a version: it proves nothing")
	}
	d.CheckSchemas(t) // which the meta-schema does not look into
	if url := d.At("/servers").([]any)[0].(map[string]any)["url"]; url != issuer {
		t.Errorf("the server is %v", url)
	}
}

// Every reference leads somewhere, and everything that can be referred to is.
func TestTheOpenAPIDocumentHasNothingTooMuchAndNothingTooLittle(t *testing.T) {
	d := admintest.Read(t, issuer)
	text, err := json.Marshal(d.Root)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, ref := range regexp.MustCompile(`"\$ref":"#([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		used[ref[1]] = true
		if d.At(ref[1]) == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	for _, kind := range []string{"schemas", "responses", "parameters"} {
		for name := range d.At("/components/" + kind).(map[string]any) {
			if !used["/components/"+kind+"/"+name] {
				t.Errorf("nothing refers to %s %s", kind, name)
			}
		}
	}
	ids := map[string]bool{}
	for _, operation := range d.Operations() {
		method, path, _ := strings.Cut(operation, " ")
		_, id := d.Resolve("/paths", path, strings.ToLower(method), "operationId")
		if text, _ := id.(string); text == "" || ids[text] {
			t.Errorf("%s has the operationId %v", operation, id)
		} else {
			ids[text] = true
		}
	}
}

// What the API serves is in the document, with the scope that it needs, and what is there of the registry is served.
func TestTheOpenAPIDocumentDescribesTheEndpoints(t *testing.T) {
	w := newWorld(t)
	var documented []string
	for _, operation := range w.schemas.Operations() {
		if strings.Contains(operation, " /v1/") && !strings.Contains(operation, "/.well-known/") {
			documented = append(documented, operation)
		}
	}
	served := admin.Endpoints()
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Fatalf("documented %v\nserved     %v", documented, served)
	}
	fill := strings.NewReplacer("{clientId}", "sc_admin", "{keyId}", "k1", "{secretId}", "s1")
	for _, endpoint := range served {
		method, path, _ := strings.Cut(endpoint, " ")
		_, scopes := w.schemas.Resolve("/paths", path, strings.ToLower(method), "security")
		need := scopes.([]any)[0].(map[string]any)["accessToken"].([]any)[0].(string)
		got := w.call("nothing", method, fill.Replace(path), "")
		got.problem(403, "forbidden", need)
		want := `Bearer realm="` + issuer + `", error="insufficient_scope", scope="` + need + `"`
		if challenge := got.header.Get("WWW-Authenticate"); challenge != want {
			t.Errorf("%s: challenge %s, want %s", endpoint, challenge, want)
		}
	}
}

// Each kind of problem that the code has is explained, and no other.
func TestTheOpenAPIDocumentExplainsTheProblems(t *testing.T) {
	kinds := map[string]bool{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`newProblem\(http\.\w+, "([a-z-]+)"|conflict\("([a-z-]+)"`).FindAllSubmatch(text, -1) {
			kinds[string(m[1])+string(m[2])] = true
		}
	}
	explained := admintest.Read(t, issuer).At("/x-problems").(map[string]any)
	for kind := range kinds {
		if explained[kind] == nil {
			t.Errorf("%s is not explained", kind)
		}
	}
	if len(kinds) != len(explained) || len(kinds) < 15 {
		t.Errorf("%d problems in the code, %d explained", len(kinds), len(explained))
	}
}

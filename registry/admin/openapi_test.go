package admin_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/keyherald/keyherald/registry/admin"
)

const documentURL = "https://document.example/openapi.json"

// document is the OpenAPI document as it is served.
type document struct {
	root     map[string]any
	compiler *jsonschema.Compiler
}

func readDocument(t *testing.T) *document {
	t.Helper()
	w := httptest.NewRecorder()
	admin.OpenAPI(issuer).ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	root, err := jsonschema.UnmarshalJSON(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	d := &document{root: root.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(documentURL, root); err != nil {
		t.Fatal(err)
	}
	return d
}

// resolve follows members, and references in between. It returns the place where it ends, as a JSON pointer.
func (d *document) resolve(pointer string, names ...string) (at string, value any) {
	value = d.at(pointer)
	for i := 0; ; i++ {
		for {
			m, ok := value.(map[string]any)
			ref, isRef := m["$ref"].(string)
			if !ok || !isRef {
				break
			}
			pointer = strings.TrimPrefix(ref, "#")
			value = d.at(pointer)
		}
		if i == len(names) {
			return pointer, value
		}
		m, _ := value.(map[string]any)
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(names[i])
		value = m[names[i]]
	}
}

func (d *document) at(pointer string) any {
	var value any = d.root
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if name == "" {
			continue
		}
		m, _ := value.(map[string]any)
		value = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return value
}

// operations lists methods and paths.
func (d *document) operations() (list []string) {
	for path, item := range d.root["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				list = append(list, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(list)
	return list
}

// template finds the path of the document that a real path is one of.
func (d *document) template(path string) string {
	for template := range d.root["paths"].(map[string]any) {
		pattern := regexp.MustCompile(`\\\{[A-Za-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		if regexp.MustCompile("^" + pattern + "$").MatchString(path) {
			return template
		}
	}
	return ""
}

// check validates an answer with the schema that the document has for its path, method, status and media type.
func (d *document) check(t *testing.T, method, path string, r *response) {
	t.Helper()
	status := string(rune('0'+r.status/100)) + string(rune('0'+r.status/10%10)) + string(rune('0'+r.status%10))
	at, described := d.resolve("/paths", d.template(path), strings.ToLower(method), "responses", status)
	if described == nil {
		t.Errorf("%s %s: the answer %s is not in the OpenAPI document (%s): %s", method, path, status, at, r.body)
		return
	}
	mediaType := r.header.Get("Content-Type")
	if mediaType == "" && len(r.body) == 0 {
		if _, content := d.resolve(at, "content"); content != nil {
			t.Errorf("%s %s: the answer %s has no body", method, path, status)
		}
		return
	}
	at, schema := d.resolve(at, "content", mediaType, "schema")
	if schema == nil {
		t.Errorf("%s %s: the answer %s of %s is not in the OpenAPI document (%s)", method, path, status, mediaType, at)
		return
	}
	d.validate(t, at, r.body)
}

func (d *document) validate(t *testing.T, pointer string, body []byte) {
	t.Helper()
	schema, err := d.compiler.Compile(documentURL + "#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s is not as %s says: %v", body, pointer, err)
	}
}

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
	d := readDocument(t)
	compiler := jsonschema.NewCompiler() // formats are not asserted: it says uri where a reference may be relative
	if err := compiler.AddResource("https://spec.openapis.org/oas/3.1/schema/2021-04-15", meta); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("https://spec.openapis.org/oas/3.1/schema/2021-04-15")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(d.root); err != nil {
		t.Error(err)
	}
	broken := map[string]any{"openapi": "3.1.0", "info": map[string]any{"title": "x"}, "paths": map[string]any{}}
	if err := schema.Validate(broken); err == nil {
		t.Error("the meta-schema takes a document without a version: it proves nothing")
	}
	for name := range d.at("/components/schemas").(map[string]any) { // which the meta-schema does not look into
		if _, err := d.compiler.Compile(documentURL + "#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	if url := d.at("/servers").([]any)[0].(map[string]any)["url"]; url != issuer {
		t.Errorf("the server is %v", url)
	}
}

// Every reference leads somewhere, and everything that can be referred to is.
func TestTheOpenAPIDocumentHasNothingTooMuchAndNothingTooLittle(t *testing.T) {
	d := readDocument(t)
	text, err := json.Marshal(d.root)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, ref := range regexp.MustCompile(`"\$ref":"#([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		used[ref[1]] = true
		if d.at(ref[1]) == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	for _, kind := range []string{"schemas", "responses", "parameters"} {
		for name := range d.at("/components/" + kind).(map[string]any) {
			if !used["/components/"+kind+"/"+name] {
				t.Errorf("nothing refers to %s %s", kind, name)
			}
		}
	}
	ids := map[string]bool{}
	for _, operation := range d.operations() {
		method, path, _ := strings.Cut(operation, " ")
		_, id := d.resolve("/paths", path, strings.ToLower(method), "operationId")
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
	for _, operation := range w.schemas.operations() {
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
		_, scopes := w.schemas.resolve("/paths", path, strings.ToLower(method), "security")
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
	explained := readDocument(t).at("/x-problems").(map[string]any)
	for kind := range kinds {
		if explained[kind] == nil {
			t.Errorf("%s is not explained", kind)
		}
	}
	if len(kinds) != len(explained) || len(kinds) < 15 {
		t.Errorf("%d problems in the code, %d explained", len(kinds), len(explained))
	}
}

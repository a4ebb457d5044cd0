// Package admintest holds answers of a platform against its OpenAPI document. It is for tests of whatever serves what is described there.
//
//	document := admintest.Read(t, issuer)
//	document.Check(t, "GET", "/v1/clients", response.StatusCode, response.Header, body)
package admintest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/keyherald/keyherald/registry/admin"
)

const documentURL = "https://document.example/openapi.json"

// Document is the OpenAPI document as it is served.
type Document struct {
	Root     map[string]any
	compiler *jsonschema.Compiler
}

// Read reads the document of a platform.
func Read(t testing.TB, issuer string) *Document {
	t.Helper()
	w := httptest.NewRecorder()
	admin.OpenAPI(issuer).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	root, err := jsonschema.UnmarshalJSON(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	d := &Document{Root: root.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(documentURL, root); err != nil {
		t.Fatal(err)
	}
	return d
}

// At returns what is at a JSON pointer, or nil.
func (d *Document) At(pointer string) any {
	var value any = d.Root
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if name == "" {
			continue
		}
		m, _ := value.(map[string]any)
		value = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return value
}

// Resolve follows members, and references in between. It returns the place where it ends, as a JSON pointer.
func (d *Document) Resolve(pointer string, names ...string) (at string, value any) {
	value = d.At(pointer)
	for i := 0; ; i++ {
		for {
			m, _ := value.(map[string]any)
			ref, isRef := m["$ref"].(string)
			if !isRef {
				break
			}
			pointer = strings.TrimPrefix(ref, "#")
			value = d.At(pointer)
		}
		if i == len(names) {
			return pointer, value
		}
		m, _ := value.(map[string]any)
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(names[i])
		value = m[names[i]]
	}
}

// Operations lists methods and paths, in order.
func (d *Document) Operations() (list []string) {
	for path, item := range d.Root["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				list = append(list, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(list)
	return list
}

// parameters matches the parameters in a path of the document.
var parameters = regexp.MustCompile(`\\\{[A-Za-z]+\\\}`)

// template finds the path of the document that a real path is one of; the one with the fewest parameters.
func (d *Document) template(path string) (best string) {
	for template := range d.Root["paths"].(map[string]any) {
		pattern := regexp.MustCompile("^" + parameters.ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`) + "$")
		if pattern.MatchString(path) && (best == "" || strings.Count(template, "{") < strings.Count(best, "{")) {
			best = template
		}
	}
	return best
}

// Check validates an answer with the schema that the document has for its path (below the issuer's URL, percent-encoded), method, status and
// media type.
func (d *Document) Check(t testing.TB, method, path string, status int, header http.Header, body []byte) {
	t.Helper()
	at, described := d.Resolve("/paths", d.template(path), strings.ToLower(method), "responses", strconv.Itoa(status))
	if described == nil {
		t.Errorf("%s %s: the answer %d is not in the OpenAPI document (%s): %s", method, path, status, at, body)
		return
	}
	mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if mediaType == "" && len(body) == 0 {
		if _, content := d.Resolve(at, "content"); content != nil {
			t.Errorf("%s %s: the answer %d has no body", method, path, status)
		}
		return
	}
	at, schema := d.Resolve(at, "content", mediaType, "schema")
	if schema == nil {
		t.Errorf("%s %s: the answer %d of %s is not in the OpenAPI document (%s)", method, path, status, mediaType, at)
		return
	}
	if strings.HasSuffix(mediaType, "json") {
		d.Validate(t, at, body)
	}
}

// Validate validates a JSON text with the schema at a JSON pointer.
func (d *Document) Validate(t testing.TB, pointer string, body []byte) {
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

// CheckSchemas compiles every schema that has a name.
func (d *Document) CheckSchemas(t testing.TB) {
	t.Helper()
	for name := range d.At("/components/schemas").(map[string]any) {
		if _, err := d.compiler.Compile(documentURL + "#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
}

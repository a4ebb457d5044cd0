package admin

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/http"
)

// pathOpenAPI is where the document is, below the issuer's URL. The types of problems point into it.
const pathOpenAPI = "/openapi.json"

//go:embed openapi.json
var document []byte

// placeholder stands in the document for the issuer's URL.
const placeholder = "https://issuer.invalid"

// DocumentPattern is the path under which [OpenAPI] is to be mounted.
func DocumentPattern(issuer string) string { return basePath(issuer) + pathOpenAPI }

// OpenAPI returns a handler for the OpenAPI 3.1 document, which describes all endpoints of the platform with the issuer's URL as its server.
func OpenAPI(issuer string) http.Handler {
	url, err := json.Marshal(issuer)
	if err != nil { // a string
		url = []byte(`"` + placeholder + `"`)
	}
	text := bytes.ReplaceAll(document, []byte(`"`+placeholder+`"`), url)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=3600") // it changes with the program's version only
		_, _ = w.Write(text)
	})
}

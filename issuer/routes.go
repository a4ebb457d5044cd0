package issuer

import (
	"encoding/json"
	"net/http"
)

// The endpoints at which clients authenticate, as metrics call them.
const (
	endpointToken      = "token"
	endpointIntrospect = "introspect"
	endpointRevoke     = "revoke"
)

// routes puts the endpoints under the path of the issuer's URL.
func (n *Node) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, serve http.HandlerFunc) {
		n.patterns = append(n.patterns, method+" "+path)
		mux.HandleFunc(method+" "+path, serve)
	}
	handle("POST", n.path+pathToken, n.endpoint(endpointToken, n.answerToken(false)))
	handle("POST", n.path+pathAuthressToken, n.endpoint(endpointToken, n.answerToken(true)))
	handle("POST", n.path+pathIntrospect, n.endpoint(endpointIntrospect, n.introspect))
	handle("POST", n.path+pathRevoke, n.endpoint(endpointRevoke, n.revoke))

	handle("GET", n.path+pathOAuth, n.serveMetadata)
	handle("GET", n.path+pathOpenID, n.serveMetadata)
	handle("GET", n.path+pathKeys, n.servePlatformKeys)
	handle("GET", n.path+pathOpenIDKeys, n.servePlatformKeys)
	handle("GET", n.path+"/v1/clients/{name}"+pathOpenID, n.serveClientMetadata)
	handle("GET", n.path+"/v1/clients/{name}"+pathOpenIDKeys, n.serveClientKeys)

	handle("GET", "/healthz", n.serveLive)
	handle("GET", "/readyz", n.serveReady)
	if n.path != "" {
		// RFC 8414 §3.1 puts the well-known part before the issuer's path.
		handle("GET", pathOAuth+n.path, n.serveMetadata)
		handle("GET", n.path+"/healthz", n.serveLive)
		handle("GET", n.path+"/readyz", n.serveReady)
	}
	return mux
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil { // our own types of strings and numbers
		http.Error(w, "the answer could not be written", http.StatusInternalServerError)
		return
	}
	writeBody(w, status, body)
}

// writeBody writes an answer that is JSON text already.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

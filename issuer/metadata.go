package issuer

import (
	"net/http"
	"strconv"
	"time"

	"github.com/keyherald/keyherald/events"
)

// Paths below the issuer's URL.
const (
	pathToken         = "/oauth/token"
	pathIntrospect    = "/oauth/introspect"
	pathRevoke        = "/oauth/revoke"
	pathAuthressToken = "/api/authentication/oauth/tokens"
	pathKeys          = "/.well-known/jwks.json"
	pathOpenID        = "/.well-known/openid-configuration"
	pathOAuth         = "/.well-known/oauth-authorization-server"
	pathOpenIDKeys    = pathOpenID + "/jwks"
)

// metadata is the authorization server metadata (RFC 8414 §2): what there is, and nothing else.
type metadata struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint,omitempty"`
	JWKSURI               string   `json:"jwks_uri"`
	GrantTypes            []string `json:"grant_types_supported,omitempty"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	AuthSigningAlgorithms []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`

	// TokenAlgorithms is what the platform's tokens are signed with. There are no ID tokens, but this is where libraries look, and OpenID
	// Connect Discovery §3 requires it.
	TokenAlgorithms []string `json:"id_token_signing_alg_values_supported,omitempty"`

	IntrospectionEndpoint    string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionAlgorithms  []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationEndpoint       string   `json:"revocation_endpoint,omitempty"`
	RevocationAuthMethods    []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationAlgorithms     []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`

	CertificateBoundTokens bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"` // RFC 8705 §3.3
	ResponseTypesSupported []string `json:"response_types_supported"`                             // required, and empty: there is no authorization endpoint
}

// serveMetadata describes the platform.
func (n *Node) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	n.writeMetadata(w, &metadata{
		Issuer:                   n.cfg.Issuer,
		TokenEndpoint:            n.cfg.Issuer + pathToken,
		JWKSURI:                  n.cfg.Issuer + pathKeys,
		GrantTypes:               grantTypes(),
		AuthMethods:              n.auth.Names(),
		AuthSigningAlgorithms:    n.assertions.Algorithms(),
		TokenAlgorithms:          []string{string(events.EdDSA)},
		IntrospectionEndpoint:    n.cfg.Issuer + pathIntrospect,
		IntrospectionAuthMethods: n.auth.Names(),
		IntrospectionAlgorithms:  n.assertions.Algorithms(),
		RevocationEndpoint:       n.cfg.Issuer + pathRevoke,
		RevocationAuthMethods:    n.auth.Names(),
		RevocationAlgorithms:     n.assertions.Algorithms(),
		CertificateBoundTokens:   n.cfg.Certificates,
		ResponseTypesSupported:   []string{},
	})
}

// serveClientMetadata tells where the keys of a client are. It says the same for a client that does not exist, whose list
// of keys is empty.
func (n *Node) serveClientMetadata(w http.ResponseWriter, r *http.Request) {
	name, err := events.ParseName(r.PathValue("name"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	client := events.ClientURL(n.cfg.Issuer, name)
	n.writeMetadata(w, &metadata{Issuer: client, JWKSURI: client + pathOpenIDKeys, ResponseTypesSupported: []string{}})
}

func (n *Node) writeMetadata(w http.ResponseWriter, m *metadata) {
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(metadataMaxAge/time.Second)))
	writeJSON(w, http.StatusOK, m)
}

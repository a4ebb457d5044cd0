package mint

import (
	"context"
	"net/http"
	"net/url"

	"github.com/keyherald/keyherald/events"
)

// Certificate returns the credential of a client that proves itself by the TLS certificate of its connection (RFC 8705 §2). The
// certificate and its key are with [RequesterConfig].HTTP, in the tls.Config of its transport: as Certificates or, where
// they are replaced while the service runs, by GetClientCertificate. The request itself says only which client it is.
//
// A token that is got in this way is bound to the certificate: services accept it only over a connection that has the same one.
func Certificate(client events.Name) Credential { return certificate(client) }

type certificate events.Name

func (c certificate) check(string) error { return checkClient(events.Name(c)) }

func (c certificate) authenticate(_ context.Context, _ string, form url.Values, _ http.Header) error {
	form.Set("client_id", string(c))
	return nil
}

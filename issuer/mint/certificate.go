package mint

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyherald/keyherald/events"
)

// Certificate returns the credential of a client that proves itself by the TLS certificate of its connection (RFC 8705 §2). The
// certificate and its key are with [RequesterConfig].HTTP, in the tls.Config of its transport: as Certificates or, where
// they are replaced while the service runs, by GetClientCertificate. The request itself says only which client it is.
//
// A token that is got in this way is bound to the certificate (RFC 8705 §3): services accept it only over a connection that has the
// same one, so the transport that reaches them needs it, too (see [TransportConfig].Base).
func Certificate(client events.Name) Credential { return certificate(client) }

type certificate events.Name

func (c certificate) check(issuer string) error {
	if !strings.HasPrefix(issuer, "https:") {
		return errors.New("a certificate proves nothing over plain http: the issuer's URL must be https")
	}
	return checkClient(events.Name(c))
}

func (c certificate) authenticate(_ context.Context, _ string, form url.Values, _ http.Header) error {
	form.Set("client_id", string(c))
	return nil
}

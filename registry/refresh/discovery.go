package refresh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/keyherald/keyherald/events"
)

// Provider is what an identity provider says of itself.
type Provider struct {
	JWKSURI string
	From    string // the document that says so
}

// Discover asks an issuer where it publishes its keys: by OpenID Connect Discovery 1.0 §4, then by RFC 8414 §3. The document must
// be about exactly this iss (§4.3, §3.3): else somebody could have his keys taken for another's.
func (f *Fetcher) Discover(ctx context.Context, iss string) (Provider, error) {
	if err := events.CheckIssuerURL("iss", iss); err != nil {
		return Provider{}, err
	}
	u, err := url.Parse(iss)
	if err != nil {
		return Provider{}, err
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	var failed []error
	for _, from := range []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	} {
		doc, err := f.get(ctx, from, "")
		if err != nil {
			failed = append(failed, err)
			continue
		}
		uri, err := readMetadata(doc.body, iss)
		if err != nil {
			return Provider{}, fmt.Errorf("document %s: %w", from, err)
		}
		return Provider{uri, from}, nil
	}
	return Provider{}, fmt.Errorf("discovery of %s: %w", iss, errors.Join(failed...))
}

// readMetadata returns the jwks_uri of a metadata document, which must be that of iss.
func readMetadata(data []byte, iss string) (string, error) {
	var issuer, uri string
	err := eachMember(data, func(name string, dec *json.Decoder) (err error) {
		switch name {
		case "issuer":
			issuer, err = text(dec)
		case "jwks_uri":
			uri, err = text(dec)
		default:
			return skip(dec)
		}
		if err != nil {
			err = fmt.Errorf("member %s: %w", name, err)
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case issuer != iss:
		return "", fmt.Errorf("it is about the issuer %.200q, not about %q: give the iss exactly as the issuer does", issuer, iss)
	case uri == "":
		return "", errors.New("it has no jwks_uri")
	}
	// The rules for a jwks_uri are those of the record that it is to stand in.
	record := events.Issuer{Type: events.TypeExternal, Status: events.Active, Iss: iss, Use: []string{events.UseAssertion}, JWKSURI: uri}
	return uri, record.Validate()
}

package mint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// Federated returns the credential of a client for which a third party vouches: a JWT of an external issuer that the client
// is registered with, such as a Kubernetes service account's or a CI job's. It is asked for anew for every request, because
// third parties replace such tokens all the time; its aud must be what the client's registration says.
func Federated(client events.Name, token func(context.Context) (string, error)) Credential {
	if token == nil {
		return federated{client: client}
	}
	return federated{client, func(ctx context.Context) (string, error) {
		text, err := token(ctx)
		if err != nil {
			return "", fmt.Errorf("getting the third party's token: %w", err)
		}
		return text, nil
	}}
}

// FederatedFile is [Federated] with a token that another program keeps in a file, as Kubernetes does with projected service
// account tokens.
func FederatedFile(client events.Name, path string) Credential {
	if path == "" {
		return federated{client: client}
	}
	return federated{client, func(context.Context) (string, error) {
		text, err := readToken(path)
		if err != nil {
			return "", fmt.Errorf("reading the third party's token: %w", err)
		}
		return text, nil
	}}
}

func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const roomForSpace = 16 // a line break follows it in most files
	text, err := io.ReadAll(io.LimitReader(f, jws.MaxToken+roomForSpace+1))
	if err == nil && len(text) > jws.MaxToken+roomForSpace {
		err = fmt.Errorf("file %s has more than the %d bytes of a token", path, jws.MaxToken)
	}
	return string(text), err
}

// notOfJWT reports whether a JWT in compact form has no such character (RFC 7515 §2, §3.1).
func notOfJWT(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

type federated struct {
	client events.Name
	token  func(context.Context) (string, error)
}

func (f federated) check(string) error {
	if f.token == nil {
		return errors.New("a federated credential needs the third party's token: a function that gets it, or a file that has it")
	}
	return checkClient(f.client)
}

func (f federated) authenticate(ctx context.Context, _ string, form url.Values, _ http.Header) error {
	text, err := f.token(ctx)
	if err != nil {
		return err
	}
	text = strings.TrimSpace(text)
	// Whether it is good the token service says. This is for what is not even of the kind, and would be sent in vain.
	if strings.Count(text, ".") != 2 || strings.ContainsFunc(text, notOfJWT) {
		return errors.New("the third party's token is not a JWT in compact form")
	}
	form.Set("client_id", string(f.client))
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", text)
	return nil
}

func checkClient(client events.Name) error {
	if _, err := events.ParseName(string(client)); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}

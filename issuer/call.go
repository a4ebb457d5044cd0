package issuer

import (
	"errors"
	"net/http"
	"time"

	"github.com/keyherald/keyherald/issuer/clientauth"
)

// call is one request to an endpoint at which clients authenticate.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	address string // where it comes from

	// For metrics: one of few words each.
	endpoint string
	grant    string // empty if it is not the token endpoint, or the grant is none that there is
	method   string // of authentication; empty if none was tried
}

// endpoint makes the handler of an endpoint at which clients authenticate. What is common to all of them is here: the address's limit, the
// answer to errors, the audit line of a refusal, and the metrics.
func (n *Node) endpoint(name string, answer func(*call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		// RFC 6749 §5.1 asks for both.
		header := w.Header()
		header["Cache-Control"], header["Pragma"] = []string{"no-store"}, []string{"no-cache"}
		c := &call{w: w, r: r, address: remoteHost(r), endpoint: name}
		outcome := "ok"
		if err := answer(c); err != nil {
			outcome = outcomeOf(n.refuse(c, err))
		}
		n.cfg.Metrics.observe(c, outcome, time.Since(began))
	}
}

// authenticate returns the client that the call comes from.
func (n *Node) authenticate(c *call, r *clientauth.Request) (*clientauth.Client, error) {
	if err := n.checkAddress(c.address, time.Now()); err != nil {
		return nil, err
	}
	client, err := n.auth.Authenticate(c.r.Context(), r)
	return n.proved(c, client, err)
}

// proved notes which client has proved itself, if one has.
func (n *Node) proved(c *call, client *clientauth.Client, err error) (*clientauth.Client, error) {
	if err != nil {
		return nil, err
	}
	c.method = client.Method
	if n.cfg.Used != nil {
		n.cfg.Used(client)
	}
	return client, nil
}

// refuse answers a call with an error, and writes its audit line.
func (n *Node) refuse(c *call, err error) *oauthError {
	answer := asOAuthError(err)
	var auth *clientauth.Error
	if errors.As(err, &auth) {
		c.method = auth.Method
		answer = n.countFailure(c.address, auth, answer, time.Now())
	}
	n.logRefusal(c, answer, err)
	answer.write(c.w, n.cfg.Issuer)
	return answer
}

package issuer

import (
	"net"
	"net/http"
	"time"

	"github.com/keyherald/keyherald/issuer/clientauth"
	"github.com/keyherald/keyherald/issuer/internal/claims"
)

// tokenResponse is a successful answer (RFC 6749 §5.1). It has no refresh token (§4.4.3): a client asks again.
type tokenResponse struct {
	accessToken []byte
	expiresIn   int64  // seconds
	scope       string // always, also if it is what was asked for
}

// JSON is the text of the answer, in room if that is large enough. It is assembled, which costs a tenth of having it marshalled.
func (r *tokenResponse) JSON(room *room) []byte {
	b := claims.In(room[:])
	b.Text("access_token", r.accessToken)
	b.String("token_type", "Bearer")
	b.Int("expires_in", r.expiresIn)
	b.String("scope", r.scope)
	return b.JSON()
}

// answerToken answers a token request. At the path that the SDKs of Authress use it may be JSON.
func (n *Node) answerToken(mayBeJSON bool) func(*call) error {
	return func(c *call) error {
		request, err := parseTokenRequest(c.w, c.r, mayBeJSON)
		if err != nil {
			return err
		}
		response, err := n.token(c, request)
		if err != nil {
			return err
		}
		room := n.rooms.get()
		writeBody(c.w, http.StatusOK, response.JSON(room))
		n.rooms.put(room)
		return nil
	}
}

// token issues a token for a request.
func (n *Node) token(c *call, r *tokenRequest) (*tokenResponse, error) {
	prove, err := n.proofFor(r.grantType)
	if err != nil {
		return nil, err
	}
	c.grant = r.grantType
	// Before the client's assertion is used up.
	if err := n.Ready(); err != nil {
		return nil, unavailable(err.Error())
	}
	client, err := prove(c, r)
	if err != nil {
		return nil, err
	}
	granted, token, err := n.grant(client, r, time.Now())
	if err != nil {
		return nil, &refusal{client, err}
	}
	n.cfg.Logger.Info().Str("address", c.address).Str("client", string(client.Name)).Str("method", client.Method).Str("credential", client.Credential).
		Str("kid", string(token.kid)).Str("jti", token.id).Strs("aud", granted.audience).Str("scope", granted.scope).
		Int64("exp", token.exp).Msg("token issued")
	return &tokenResponse{accessToken: token.text, expiresIn: int64(granted.ttl / time.Second), scope: granted.scope}, nil
}

// proofFor returns how a client proves itself for a grant. There is no grant of a user's password, and none that an authorization
// endpoint would begin (RFC 9700 §2.4): machines have no use for them.
func (n *Node) proofFor(grantType string) (func(*call, *tokenRequest) (*clientauth.Client, error), error) {
	switch grantType {
	case grantClientCredentials:
		return n.clientCredentials, nil
	case grantJWTBearer:
		return n.jwtBearer, nil
	case "":
		return nil, invalidRequest("grant_type is missing: send grant_type=client_credentials")
	}
	return nil, badRequest(codeUnsupportedGrantType, "grant_type must be client_credentials or "+grantJWTBearer)
}

// grantTypes lists the grants, for the metadata.
func grantTypes() []string { return []string{grantClientCredentials, grantJWTBearer} }

// grant decides what the client gets, by the records of now, and makes the token.
func (n *Node) grant(client *clientauth.Client, r *tokenRequest, now time.Time) (*grant, *accessToken, error) {
	set, platform, err := n.trusted(now)
	if err != nil {
		return nil, nil, unavailable(err.Error())
	}
	record, err := client.Recheck(set, now)
	if err != nil {
		return nil, nil, err
	}
	granted, err := decide(client.Name, record, r, now, min(n.cfg.TokenTTL, platform.TokenTTL()))
	if err != nil {
		return nil, nil, err
	}
	granted.certificate = client.Certificate
	token, err := n.issue(set, granted, now)
	return granted, token, err
}

// refusal is an error that came after the client was known.
type refusal struct {
	client *clientauth.Client
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// remoteHost is the address that the request comes from. Of headers in which proxies say otherwise, package peer knows which to
// believe, and has put the address right before.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

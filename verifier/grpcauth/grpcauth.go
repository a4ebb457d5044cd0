package grpcauth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/internal/bearer"
)

// Verifier judges tokens. It is called by many goroutines at once, and must not wait.
type Verifier interface {
	VerifyRequest(token string, r verifier.Request) (*verifier.Token, error)
}

var _ Verifier = (*verifier.Verifier)(nil)

// Config of a guard. Verifier and Methods are required.
type Config struct {
	Verifier Verifier
	// Methods says who may call what, by the full name of a method, /package.Service/Method, or by that of a service with the
	// slash, /package.Service/, for all of its methods that are not named themselves. What is not in it is refused.
	Methods map[string]Access
	// Audience takes the place of the verifier's. Empty: it does not.
	Audience string
	// Refused is told of every call that is not accepted, before it is answered, and of every stream that is ended: to count them. It is
	// called by many goroutines at once. Nil: nobody is.
	Refused func(ctx context.Context, method string, e *Error)
	// Logger gets the calls that are not accepted, and why: a few a second with a count of what was left out, so that who sends garbage
	// does not fill a disk. Calls without a token are logged at debug level. The zero Logger is silent.
	Logger zerolog.Logger
}

// Guard accepts or refuses calls. It may be used by any number of goroutines.
type Guard struct {
	cfg Config
	log *bearer.Log
}

// maxLoggedMethod bounds a method's name in the log, in bytes: a server for unknown services takes any.
const maxLoggedMethod = 256

// New makes a guard.
func New(cfg Config) (*Guard, error) {
	if cfg.Verifier == nil {
		return nil, errors.New("grpcauth: no verifier")
	}
	if len(cfg.Methods) == 0 {
		return nil, errors.New("grpcauth: no methods: what is not named is refused to everybody")
	}
	cfg.Methods = maps.Clone(cfg.Methods)
	for name, access := range cfg.Methods {
		if err := errors.Join(validateMethod(name), bearer.ValidateScopes(access.scopes)); err != nil {
			return nil, fmt.Errorf("grpcauth: methods: %w", err)
		}
	}
	return &Guard{cfg: cfg, log: bearer.NewLog(cfg.Logger)}, nil
}

// ServerOptions has both interceptors: a server that has but one does not protect all of its methods.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(g.UnaryServerInterceptor), grpc.ChainStreamInterceptor(g.StreamServerInterceptor)}
}

var (
	_ grpc.UnaryServerInterceptor  = (*Guard)(nil).UnaryServerInterceptor
	_ grpc.StreamServerInterceptor = (*Guard)(nil).StreamServerInterceptor
)

// UnaryServerInterceptor lets calls pass that are accepted, with their token in the context. It is a [grpc.UnaryServerInterceptor], for
// who chains them by hand; see [Guard.ServerOptions].
func (g *Guard) UnaryServerInterceptor(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, _, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

// admit returns the context for the handler of a call, and the call if its token was judged: a method that is open has none.
// Else it returns the answer.
func (g *Guard) admit(ctx context.Context, method string) (context.Context, *call, error) {
	access := g.accessTo(method)
	if access.open {
		return ctx, nil, nil
	}
	c, token, refusal := g.begin(ctx, access)
	if refusal != nil {
		return nil, nil, g.refuse(ctx, method, refusal)
	}
	return context.WithValue(ctx, tokenKey{}, token), c, nil
}

// call is what a call has brought, to be judged once or more often.
type call struct {
	access  Access
	token   string
	request verifier.Request
}

func (g *Guard) begin(ctx context.Context, access Access) (*call, *verifier.Token, *Error) {
	if !access.token {
		return nil, nil, errMethod
	}
	text, refusal := tokenOf(ctx)
	if refusal != nil {
		return nil, nil, refusal
	}
	c := &call{access, text, verifier.Request{Audience: g.cfg.Audience, Confirm: verifier.ByCertificate(certificate(ctx))}}
	token, refusal := g.judge(c)
	return c, token, refusal
}

func (g *Guard) judge(c *call) (*verifier.Token, *Error) {
	token, err := g.cfg.Verifier.VerifyRequest(c.token, c.request)
	if err != nil {
		return nil, asError(err)
	}
	if !bearer.HasScopes(token, c.access.scopes) {
		return nil, errScope
	}
	return token, nil
}

// tokenOf finds the one token of a call. Its form is for the verifier to check.
func tokenOf(ctx context.Context) (string, *Error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	switch {
	case len(values) == 0:
		return "", errNoToken
	case len(values) > 1:
		return "", errTwice
	}
	token, reason := bearer.Token(values[0])
	switch reason {
	case "":
		return token, nil
	case ReasonNoToken:
		return "", errNoToken
	}
	return "", errScheme
}

// certificate is the one that the caller has shown in TLS, or nil.
func certificate(ctx context.Context) *x509.Certificate {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			return info.State.PeerCertificates[0]
		}
	}
	return nil
}

// refuse tells of a refusal, and returns the answer.
func (g *Guard) refuse(ctx context.Context, method string, e *Error) error {
	if g.cfg.Refused != nil {
		g.cfg.Refused(ctx, method, e)
	}
	if line := g.log.Line(e.Reason, e); line != nil {
		line.Stringer("code", e.Code).Str("method", method[:min(len(method), maxLoggedMethod)])
		if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
			line.Stringer("address", p.Addr)
		}
		line.Msg("call refused")
	}
	return e.status()
}

type tokenKey struct{}

// FromContext returns the token of a call that was accepted. Calls of open methods have none.
func FromContext(ctx context.Context) (*verifier.Token, bool) {
	token, ok := ctx.Value(tokenKey{}).(*verifier.Token)
	return token, ok
}

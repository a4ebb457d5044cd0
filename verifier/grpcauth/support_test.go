package grpcauth_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/grpcauth"
	"github.com/keyherald/keyherald/verifier/verifiertest"
)

const (
	orders  = "https://orders.example.com"
	check   = "/grpc.health.v1.Health/Check" // the method that most tests call: it needs the scope orders:read
	watch   = "/grpc.health.v1.Health/Watch" // a stream on which the server sends
	list    = "/grpc.health.v1.Health/List"
	inspect = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" // a stream in both directions
)

func orderMethods() map[string]grpcauth.Access {
	return map[string]grpcauth.Access{
		check: grpcauth.Require("orders:read"), watch: grpcauth.Require("orders:read"), inspect: grpcauth.Require("orders:read"),
	}
}

// world is a server with a guard, and an installation that it follows.
type world struct {
	*verifiertest.Kit
	billing *verifiertest.Client // has the scopes orders:read and orders:write
	guard   *grpcauth.Guard
	service *service
	conn    *grpc.ClientConn
	log     *syncBuffer
	refused refusals
}

// service is the health service of grpc, and remembers who has called.
type service struct {
	*health.Server
	caller atomic.Pointer[verifier.Token]
}

func (s *service) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	token, _ := grpcauth.FromContext(ctx)
	s.caller.Store(token)
	return s.Server.Check(ctx, r)
}

// refusals collects what is told to Config.Refused.
type refusals struct {
	mu      sync.Mutex
	methods []string
	errors  []*grpcauth.Error
}

func (r *refusals) add(_ context.Context, method string, e *grpcauth.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.methods, r.errors = append(r.methods, method), append(r.errors, e)
}

// take returns the reasons since the last time.
func (r *refusals) take() (reasons []verifier.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.errors {
		reasons = append(reasons, e.Reason)
	}
	r.methods, r.errors = nil, nil
	return reasons
}

type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newWorld starts a server on loopback, with changes to the configuration of its guard.
func newWorld(t *testing.T, change ...func(*grpcauth.Config)) *world {
	t.Helper()
	return newWorldTLS(t, nil, nil, change...)
}

// newWorldTLS is newWorld over TLS, if there are configurations for it.
func newWorldTLS(t *testing.T, server, client *tls.Config, change ...func(*grpcauth.Config)) *world {
	t.Helper()
	w := &world{Kit: verifiertest.New(t, verifier.Config{Audience: orders}), log: &syncBuffer{}}
	w.billing = w.Client("billing", verifiertest.Scope("orders:read", "orders:write"))
	cfg := grpcauth.Config{
		Verifier: w.Verifier(), Methods: orderMethods(), Refused: w.refused.add, Logger: zerolog.New(w.log).Level(zerolog.InfoLevel),
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if w.guard, err = grpcauth.New(cfg); err != nil {
		t.Fatal(err)
	}
	options, creds := w.guard.ServerOptions(), insecure.NewCredentials()
	if server != nil {
		options, creds = append(options, grpc.Creds(credentials.NewTLS(server))), credentials.NewTLS(client)
	}
	s := grpc.NewServer(options...)
	w.service = &service{Server: health.NewServer()}
	healthpb.RegisterHealthServer(s, w.service)
	reflection.Register(s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		// A test that calls nothing may end before Serve has begun.
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	if w.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(creds)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.conn.Close() })
	return w
}

// withMetadata is the context of a call with pairs of metadata.
func withMetadata(t *testing.T, pairs ...string) context.Context {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), pairs...), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func withToken(t *testing.T, token string) context.Context {
	return withMetadata(t, "authorization", "Bearer "+token)
}

// call calls Check.
func (w *world) call(ctx context.Context) error {
	_, err := healthpb.NewHealthClient(w.conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// watch begins a stream on which the server has sent one message, and will send another at each change.
func (w *world) watch(t *testing.T, token string) grpc.ServerStreamingClient[healthpb.HealthCheckResponse] {
	t.Helper()
	stream, err := healthpb.NewHealthClient(w.conn).Watch(withToken(t, token), &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// inspect begins a stream in both directions.
func (w *world) inspect(t *testing.T, token string) grpc.BidiStreamingClient[reflectionpb.ServerReflectionRequest, reflectionpb.ServerReflectionResponse] {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(w.conn).ServerReflectionInfo(withToken(t, token))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

var listServices = &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}

// hasCode compares the code of an answer, and that the text of a refusal is one of three that say nothing.
func hasCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	got := status.Convert(err)
	if got.Code() != want {
		t.Fatalf("answered %v, want %s", err, want)
	}
	text := map[codes.Code]string{
		codes.OK: "", codes.Unauthenticated: "a valid access token is needed", codes.PermissionDenied: "the token does not allow this",
		codes.Unavailable: "tokens cannot be judged now, try again",
	}[want]
	if got.Message() != text {
		t.Fatalf("the caller is told %q, want %q", got.Message(), text)
	}
}

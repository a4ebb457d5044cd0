package grpcauth_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/grpcauth"
	"github.com/keyherald/keyherald/verifier/verifiertest"
)

// endings are what may happen to a token while a stream is open.
var endings = []struct {
	name   string
	happen func(w *world, token string)
	code   codes.Code
	reason verifier.Reason
}{
	{"its key is revoked", func(w *world, _ string) { w.RevokeKey(w.billing) }, codes.Unauthenticated, verifier.ReasonKeyState},
	{"it is revoked itself", func(w *world, token string) { w.RevokeToken(token) }, codes.Unauthenticated, verifier.ReasonRevoked},
	{"its client is disabled", func(w *world, _ string) { w.Disable(w.billing) }, codes.Unauthenticated, verifier.ReasonIssuer},
	{"it expires", func(w *world, _ string) { w.Advance(time.Hour) }, codes.Unauthenticated, verifier.ReasonExpired},
	{"contact is lost for too long", func(w *world, _ string) { w.GoStale() }, codes.Unavailable, verifier.ReasonStale},
}

func TestAStreamEndsWhenItsTokenDoesThoughOnlyTheServerSends(t *testing.T) {
	for _, test := range endings {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			token := w.billing.Token()
			stream := w.watch(t, token)
			w.service.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			test.happen(w, token)
			w.service.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
			_, err := stream.Recv()
			hasCode(t, err, test.code)
			if got := w.refused.take(); !slices.Equal(got, []verifier.Reason{test.reason}) {
				t.Errorf("it was ended for %q", got)
			}
		})
	}
}

func TestAStreamEndsWhenItsTokenDoesThoughOnlyTheClientSends(t *testing.T) {
	for _, test := range endings {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			token := w.billing.Token()
			stream := w.inspect(t, token)
			for range 2 {
				if err := stream.Send(listServices); err != nil {
					t.Fatal(err)
				}
				if _, err := stream.Recv(); err != nil {
					t.Fatal(err)
				}
			}
			test.happen(w, token)
			if err := stream.Send(listServices); err != nil {
				t.Fatal(err)
			}
			_, err := stream.Recv()
			hasCode(t, err, test.code)
			if got := w.refused.take(); !slices.Equal(got, []verifier.Reason{test.reason}) {
				t.Errorf("it was ended for %q", got)
			}
		})
	}
}

func TestAStreamIsJudgedWhenItBegins(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		ctx  context.Context
		code codes.Code
	}{
		"without a token":   {withMetadata(t), codes.Unauthenticated},
		"with a bad token":  {withToken(t, w.billing.Token(verifiertest.Expired())), codes.Unauthenticated},
		"without the scope": {withToken(t, w.billing.Token(verifiertest.Scope())), codes.PermissionDenied},
	} {
		stream, err := healthpb.NewHealthClient(w.conn).Watch(test.ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		t.Run(name, func(t *testing.T) { hasCode(t, err, test.code) })
	}
	stream := w.inspect(t, w.billing.Token())
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("a stream that ends by itself ends with %v", err)
	}
}

// openStream is the server's end of a stream, as grpc hands it to an interceptor.
type openStream struct {
	grpc.ServerStream
	ctx     context.Context
	receive func() // while it waits for a message, if not nil
}

func (s openStream) Context() context.Context { return s.ctx }
func (s openStream) SendMsg(any) error        { return nil }
func (s openStream) RecvMsg(any) error {
	if s.receive != nil {
		s.receive()
	}
	return nil
}

// onStream calls the handler with the stream as the guard hands it on, and returns the answer.
func onStream(guard *grpcauth.Guard, token string, s openStream, handler func(grpc.ServerStream) error) error {
	s.ctx = metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+token))
	return guard.StreamServerInterceptor(nil, s, &grpc.StreamServerInfo{FullMethod: watch},
		func(_ any, s grpc.ServerStream) error { return handler(s) })
}

func TestAMessageThatComesAfterTheTokenHasEndedIsNotDelivered(t *testing.T) {
	w := newWorld(t)
	token := w.billing.Token()
	err := onStream(w.guard, token, openStream{receive: func() { w.RevokeToken(token) }}, func(s grpc.ServerStream) error {
		hasCode(t, s.RecvMsg(nil), codes.Unauthenticated)
		return nil
	})
	hasCode(t, err, codes.Unauthenticated)
}

func TestAStreamThatHasEndedStaysSoWhateverItsHandlerDoes(t *testing.T) {
	w := newWorld(t)
	for name, message := range map[string]func(grpc.ServerStream) error{
		"sending":   func(s grpc.ServerStream) error { return s.SendMsg(nil) },
		"receiving": func(s grpc.ServerStream) error { return s.RecvMsg(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			err := onStream(w.guard, w.billing.Token(), openStream{}, func(s grpc.ServerStream) error {
				if token, ok := grpcauth.FromContext(s.Context()); !ok || token.Client != "billing" {
					t.Errorf("the stream is of %+v", token)
				}
				if err := message(s); err != nil {
					t.Error(err)
				}
				w.GoStale()
				defer w.GoFresh()
				hasCode(t, message(s), codes.Unavailable)
				if s.Context().Err() == nil {
					t.Error("its context goes on")
				}
				w.GoFresh()
				hasCode(t, message(s), codes.Unavailable)
				return nil // as if nothing had happened
			})
			hasCode(t, err, codes.Unavailable)
			if got := w.refused.take(); len(got) != 1 {
				t.Errorf("it was told %d times", len(got))
			}
		})
	}
	own := errors.New("the handler's own")
	if err := onStream(w.guard, w.billing.Token(), openStream{}, func(grpc.ServerStream) error { return own }); err != own {
		t.Errorf("a stream of a good token ends with %v", err)
	}
}

// together is a verifier that accepts the first time. The next two calls wait for one another, and then both are refused.
type together struct {
	*verifier.Verifier
	calls atomic.Int32
	both  sync.WaitGroup
}

func (v *together) VerifyRequest(token string, r verifier.Request) (*verifier.Token, error) {
	if v.calls.Add(1) == 1 {
		return v.Verifier.VerifyRequest(token, r)
	}
	v.both.Done()
	v.both.Wait()
	return nil, errBroken
}

func TestAStreamEndsOnceForWhoSendsAndWhoReceives(t *testing.T) {
	v := &together{}
	v.both.Add(2)
	w := newWorld(t, func(cfg *grpcauth.Config) {
		v.Verifier = cfg.Verifier.(*verifier.Verifier)
		cfg.Verifier = v
	})
	err := onStream(w.guard, w.billing.Token(), openStream{}, func(s grpc.ServerStream) error {
		received := make(chan error)
		go func() { received <- s.RecvMsg(nil) }()
		hasCode(t, s.SendMsg(nil), codes.Unauthenticated)
		hasCode(t, <-received, codes.Unauthenticated)
		return nil
	})
	hasCode(t, err, codes.Unauthenticated)
	if got := w.refused.take(); len(got) != 1 {
		t.Errorf("it was told %d times", len(got))
	}
}

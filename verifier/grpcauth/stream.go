package grpcauth

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
)

// StreamServerInterceptor lets streams pass that are accepted, and ends those whose token is not accepted any more; see
// the package comment. It is a [grpc.StreamServerInterceptor], for who chains them by hand; see [Guard.ServerOptions].
func (g *Guard) StreamServerInterceptor(server any, inner grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, c, err := g.admit(inner.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if c == nil {
		return handler(server, inner)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stream{ServerStream: inner, ctx: ctx, cancel: cancel, guard: g, call: c, method: info.FullMethod}
	err = handler(server, s)
	if end := s.end.Load(); end != nil {
		return end.status()
	}
	return err
}

// stream judges the token again with every message. One goroutine may send while another receives.
type stream struct {
	grpc.ServerStream
	ctx    context.Context // a grpc.ServerStream is asked for it
	cancel context.CancelFunc
	guard  *Guard
	call   *call
	method string
	end    atomic.Pointer[Error] // why it has ended; nil: it has not
}

func (s *stream) Context() context.Context { return s.ctx }

// RecvMsg asks after a message has come, however long that took.
func (s *stream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.check()
}

func (s *stream) SendMsg(m any) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

// check returns the answer with which the stream ends, if it does. What has ended once stays so.
func (s *stream) check() error {
	if end := s.end.Load(); end != nil {
		return end.status()
	}
	_, refusal := s.guard.judge(s.call)
	if refusal == nil {
		return nil
	}
	if s.end.CompareAndSwap(nil, refusal) {
		s.cancel()
		return s.guard.refuse(s.ctx, s.method, refusal)
	}
	return s.end.Load().status()
}

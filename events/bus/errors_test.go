package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestN_CodesOfTheServer has what the server answers in every setup. On a single server, a conflict is 10071; on a cluster, 10164.
func TestN_CodesOfTheServer(t *testing.T) {
	api := func(code jetstream.ErrorCode) error { return &jetstream.APIError{ErrorCode: code, Code: 400} }
	for _, c := range []struct {
		err, want error
	}{
		{api(10071), ErrConflict},
		{api(10164), ErrConflict},
		{fmt.Errorf("wrapped: %w", api(10164)), ErrConflict},
		{api(10059), ErrNoBucket},
		{api(10039), ErrNoBucket},
		{api(10008), ErrNoLeader},
		{api(10037), ErrNotFound},
		{api(10054), ErrTooLarge},
		{api(10026), ErrTooManyConsumers},
		{jetstream.ErrMaximumConsumersLimit, ErrTooManyConsumers},
		{jetstream.ErrStreamNotFound, ErrNoBucket},
		{jetstream.ErrNoStreamResponse, ErrNoBucket},
		{nats.ErrNoResponders, ErrNoBucket},
		{jetstream.ErrMsgNotFound, ErrNotFound},
		{nats.ErrMaxPayload, ErrTooLarge},
		{fmt.Errorf("%w: to \"$KV.KEYS.a\"", nats.ErrPermissionViolation), ErrPermission},
		{nats.ErrConnectionReconnecting, ErrUnreachable},
		{nats.ErrReconnectBufExceeded, ErrUnreachable},
		{nats.ErrDisconnected, ErrUnreachable},
		{nats.ErrConnectionClosed, ErrUnreachable},
		{errDisconnected, ErrUnreachable},
		{errClosed, ErrUnreachable},
		{errOffline, ErrUnreachable},
	} {
		if have := translate(c.err); !errors.Is(have, c.want) {
			t.Errorf("%v becomes %v, want %v", c.err, have, c.want)
		}
	}
	if translate(nil) != nil {
		t.Error("no error becomes one")
	}
	for _, err := range []error{api(10077), context.DeadlineExceeded, errors.New("other")} {
		if translate(err) != err {
			t.Errorf("%v becomes %v", err, translate(err))
		}
	}
}

// A write that was certainly not sent must not be looked for, and one that may have been must.
func TestWritesThatMayHaveTakenPlace(t *testing.T) {
	for _, err := range []error{
		context.DeadlineExceeded, context.Canceled, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionClosed, errDisconnected,
	} {
		if !isUnknown(err) {
			t.Errorf("%v: the write may have taken place", err)
		}
	}
	for _, err := range []error{nil, nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, nats.ErrNoResponders, errOffline, &jetstream.APIError{}} {
		if isUnknown(err) {
			t.Errorf("%v: the write did not take place", err)
		}
	}
}

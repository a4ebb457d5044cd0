package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Try makes a call and reports whether the server lets this credential make it. Nothing comes of it if it does:
//
//   - a record is published for a stream that does not exist, and as the successor of a message that does not exist: the bucket's stream refuses
//     either. What it would store is malformed: what was there before would stay in force;
//   - a request to JetStream demands a version of its API that no server has, and its text is no JSON, though it begins as if it were (what does
//     not, some requests take for none at all): the server refuses either before it looks at what is asked for;
//   - a subscription ends with its first message, and when the server has answered.
//
// The answer is that of the server to which the connection is. A call is tried once on a connection. The server logs each refusal.
func (c *Conn) Try(ctx context.Context, call Call) (allowed bool, err error) {
	ctx, stop := context.WithTimeout(ctx, requestTimeout)
	defer stop()
	before := c.nc.Stats().Reconnects
	if call.Verb == Subscribe {
		var sub *nats.Subscription
		if sub, err = c.nc.Subscribe(call.Subject, func(*nats.Msg) {}); err == nil {
			defer func() { _ = sub.Unsubscribe() }() // it may have ended by itself
			err = sub.AutoUnsubscribe(1)
		}
	} else {
		err = c.nc.PublishMsg(harmless(call.Subject))
	}
	if err == nil {
		err = c.nc.FlushWithContext(ctx) // a refusal comes before the answer to this
	}
	if err == nil && c.nc.Stats().Reconnects != before {
		err = errDisconnected
	}
	if err != nil {
		return false, fmt.Errorf("trying to %s: %w", call, translate(err))
	}
	return !refused(c.nc.LastError(), call), nil
}

// refused reports whether an error of the connection is the refusal of a call. It is the last one that there was.
func refused(err error, call Call) bool {
	what := "for Publish to "
	if call.Verb == Subscribe {
		what = "for Subscription to "
	}
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), what+strconv.Quote(call.Subject))
}

// headerAPILevel is what a request to JetStream demands of the server.
const headerAPILevel = "Nats-Required-Api-Level"

// harmless is a message of which nothing comes, wherever it gets to.
func harmless(subject string) *nats.Msg {
	msg := nats.NewMsg(subject)
	msg.Data = []byte("{keyherald doctor tries whether it may")
	msg.Header.Set(jetstream.ExpectedStreamHeader, probe)
	msg.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.Itoa(math.MaxInt64))
	msg.Header.Set(headerAPILevel, strconv.Itoa(math.MaxInt32))
	return msg
}

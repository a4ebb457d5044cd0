package bus

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// requestTimeout bounds one request; a caller's context may end it earlier.
const requestTimeout = 5 * time.Second

// timeLeft is how long a request may take for somebody who says so by the deadline of ctx, and requestTimeout for somebody who does not.
func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return requestTimeout
}

// waiter is somebody who waits for messages that will not come when the connection is lost, or when the server refuses
// what was published on subject: it does not answer a request that it refuses.
type waiter struct {
	subject string
	end     func(error) // must not block
}

func (c *Conn) addWaiter(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiters[w] = struct{}{}
}

func (c *Conn) dropWaiter(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiters, w)
}

// request returns a context for one request on subject. It ends after requestTimeout, and as soon as it is known that no answer
// will come; cause tells why.
func (c *Conn) request(ctx context.Context, subject string) (context.Context, func()) {
	return c.requestWithin(ctx, requestTimeout, subject)
}

// requestWithin is request with another limit.
func (c *Conn) requestWithin(ctx context.Context, limit time.Duration, subject string) (context.Context, func()) {
	ctx, stop := context.WithTimeout(ctx, limit)
	ctx, end := context.WithCancelCause(ctx)
	w := &waiter{subject, end}
	c.addWaiter(w)
	return ctx, func() {
		c.dropWaiter(w)
		end(nil)
		stop()
	}
}

// cause is err, or why ctx has ended if that is what err says.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *Conn) markLost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.connected:
		c.connected = make(chan struct{})
	default:
	}
	for w := range c.waiters {
		w.end(errDisconnected)
	}
	event := c.log.Warn()
	if err == nil { // closed by us
		event = c.log.Debug()
	}
	event.Err(err).Msg("nats disconnected")
}

func (c *Conn) markConnected(nc *nats.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.connected:
	default:
		close(c.connected)
	}
	c.refusal = nil
	c.log.Debug().Str("url", nc.ConnectedUrlRedacted()).Msg("nats connected")
}

// noteRefusal notes that a server has refused the credential, and says so once.
func (c *Conn) noteRefusal(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal == nil {
		c.log.Warn().Err(err).Msg("nats does not let us in again: trying on")
	}
	c.refusal = err
}

func (c *Conn) noteError(err error) {
	if refused := connectError(err); errors.Is(refused, ErrPermission) { // of an attempt to connect again
		c.noteRefusal(refused)
		return
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		subject := violationSubject(err)
		c.mu.Lock()
		for w := range c.waiters {
			if w.subject == subject {
				w.end(err)
			}
		}
		c.mu.Unlock()
	}
	c.log.Debug().Err(err).Msg("nats")
}

// violationSubject cuts the subject out of: … Permissions Violation for Publish to "subject".
func violationSubject(err error) string {
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	return subject
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/keyherald/keyherald/events"
)

// Source is a bucket's stream, as a [Feed] needs it. A Source gives no guarantee that a watch brings everything, or that it
// says so when it does not: that is the feed's to find out. What it does promise: the deliveries of one watch come in the order in
// which the stream's consumer sent them, with none left out between the first and the last.
type Source interface {
	// State reads the stream's first and last sequence.
	State(ctx context.Context) (State, error)
	// Watch delivers the retained messages from the given sequence on (zero: all), then new ones.
	Watch(ctx context.Context, from uint64) (Watch, error)
	// Connected returns a channel that is closed once there is a connection.
	Connected() <-chan struct{}
}

// State of a stream. Of an empty one, First is greater than Last.
type State struct {
	First, Last uint64
}

// Watch is one subscription of a source.
type Watch interface {
	Deliveries() <-chan Delivery
	// Failed yields one error when the watch has ended by itself.
	Failed() <-chan error
	// Stop ends the watch. It may be called more than once.
	Stop()
}

// Delivery is one message, or the word of the stream's consumer that it has nothing to send up to a sequence.
type Delivery struct {
	Entry   events.Entry // with revision zero: there is no message
	Pending uint64       // how many messages the consumer has yet to send, as far as it knows
	Through uint64       // the consumer has looked at everything up to this sequence
}

// The ways in which a watch ends.
var (
	errDisconnected = errors.New("the connection was lost")
	errMissed       = errors.New("a message was lost on the way")
	errSilent       = errors.New("no heartbeat came")
)

// heartbeat is how often the consumer sends a sign of life when it has nothing else to send; two may get lost.
const (
	heartbeat       = 2 * time.Second
	heartbeatsLost  = 3
	consumerLinger  = 10 * time.Second // how long the server keeps a consumer that nobody listens to
	deliveryBacklog = 1024
)

// stream is the Source of a bucket on a server.
type stream struct {
	conn   *Conn
	bucket Bucket
}

var _ Source = (*stream)(nil)

func (s *stream) Connected() <-chan struct{} { return s.conn.Connected() }

func (s *stream) State(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	handle, err := s.conn.stream(ctx, s.bucket)
	if err != nil {
		return State{}, fmt.Errorf("reading the state of %s: %w", s.bucket, err)
	}
	info, err := handle.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("reading the state of %s: %w", s.bucket, translate(err))
	}
	return State{First: info.State.FirstSeq, Last: info.State.LastSeq}, nil
}

// Watch makes an ephemeral push consumer of its own for each watch. It is not the ordered consumer of the client library,
// which hides its restarts, and not kv.Watch, which leaves out the headers.
func (s *stream) Watch(ctx context.Context, from uint64) (Watch, error) {
	w := &pushWatch{
		bucket:     s.bucket,
		deliveries: make(chan Delivery, deliveryBacklog),
		failed:     make(chan error, 1),
		stopped:    make(chan struct{}),
		alive:      make(chan struct{}, 1),
	}
	lost := s.conn.Lost()
	inbox := s.conn.nc.NewInbox()
	sub, err := s.conn.nc.Subscribe(inbox, w.receive)
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", s.bucket, translate(err))
	}
	w.sub = sub
	cfg := jetstream.ConsumerConfig{
		Name:              "kh_" + nuid.Next(),
		DeliverSubject:    inbox,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		MaxDeliver:        1,
		FilterSubject:     s.bucket.Filter(),
		FlowControl:       true,
		IdleHeartbeat:     heartbeat,
		InactiveThreshold: consumerLinger,
		Replicas:          1,
		MemoryStorage:     true,
	}
	if from > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := s.conn.js.CreatePushConsumer(ctx, s.bucket.Stream(), cfg); err != nil {
		w.Stop()
		return nil, fmt.Errorf("watching %s: %w", s.bucket, translate(err))
	}
	go w.guard(lost)
	return w, nil
}

// pushWatch is one push consumer's subscription.
type pushWatch struct {
	bucket     Bucket
	sub        *nats.Subscription
	deliveries chan Delivery
	failed     chan error
	alive      chan struct{} // a sign of life
	stop       sync.Once
	stopped    chan struct{}
	consumed   uint64 // consumer sequence of the last message; only receive uses it
}

func (w *pushWatch) Deliveries() <-chan Delivery { return w.deliveries }
func (w *pushWatch) Failed() <-chan error        { return w.failed }

func (w *pushWatch) Stop() {
	w.stop.Do(func() {
		close(w.stopped)
		_ = w.sub.Unsubscribe() // fails only when the connection is closed for good
	})
}

func (w *pushWatch) fail(err error) {
	select {
	case w.failed <- err:
	default: // the first error counts
	}
}

// guard ends the watch when the connection is lost or the signs of life stop.
func (w *pushWatch) guard(lost <-chan struct{}) {
	const limit = heartbeat * heartbeatsLost
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-w.alive:
			timer.Reset(limit)
		case <-timer.C:
			w.fail(errSilent)
			return
		case <-lost:
			w.fail(errDisconnected)
			return
		case <-w.stopped:
			return
		}
	}
}

// receive runs on the subscription's own goroutine, one message after the other.
func (w *pushWatch) receive(m *nats.Msg) {
	select {
	case w.alive <- struct{}{}:
	default:
	}
	d, ok := w.read(m)
	if !ok {
		return
	}
	select {
	case w.deliveries <- d:
	case <-w.stopped:
	}
}

// read turns a message into a delivery. It reports false for what is none, and when the watch has failed.
func (w *pushWatch) read(m *nats.Msg) (Delivery, bool) {
	if !strings.HasPrefix(m.Reply, "$JS.ACK.") {
		// Only stored messages have that reply. (A status header is no proof: a writer may store one.)
		return w.control(m)
	}
	meta, err := m.Metadata()
	if err != nil {
		return Delivery{}, false // not of the consumer; nobody else can publish on a private inbox
	}
	if meta.Sequence.Consumer != w.consumed+1 {
		w.fail(errMissed)
		return Delivery{}, false
	}
	w.consumed = meta.Sequence.Consumer
	prefix := len(w.bucket.Subject(""))
	return Delivery{
		Entry: events.Entry{
			Name: m.Subject[prefix:], Value: m.Data, Deleted: isMarker(m.Header),
			Revision: meta.Sequence.Stream, Time: meta.Timestamp, Caller: m.Header.Get(headerCaller),
		},
		Pending: meta.NumPending,
		Through: meta.Sequence.Stream,
	}, true
}

// control answers flow control and reads heartbeats. A heartbeat follows everything that the consumer has sent before.
func (w *pushWatch) control(m *nats.Msg) (Delivery, bool) {
	if strings.HasPrefix(m.Reply, "$JS.FC.") { // flow control: whoever answers has taken all before
		_ = m.Respond(nil)
		return Delivery{}, false
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		_ = w.respond(m, stalled)
		return Delivery{}, false
	}
	last, err := strconv.ParseUint(m.Header.Get("Nats-Last-Consumer"), 10, 64)
	if err != nil {
		return Delivery{}, false
	}
	if last != w.consumed {
		w.fail(errMissed)
		return Delivery{}, false
	}
	through, err := strconv.ParseUint(m.Header.Get("Nats-Last-Stream"), 10, 64)
	return Delivery{Through: through}, err == nil
}

func (w *pushWatch) respond(m *nats.Msg, subject string) error {
	answer := *m
	answer.Reply = subject
	return answer.Respond(nil)
}

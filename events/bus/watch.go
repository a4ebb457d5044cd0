package bus

import (
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// pushWatch is one push consumer's subscription.
type pushWatch struct {
	conn       *Conn
	consumer   string
	stream     string
	prefix     string   // of the subjects of the bucket
	prepare    bool     // the records are those of an events.Set,
	wanted     followed // or some of them are
	sub        *nats.Subscription
	lost       *waiter
	deliveries chan Delivery
	failed     chan error
	stop       sync.Once
	stopped    chan struct{}
	drained    chan struct{} // closed when receive will not be called any more
	consumed   uint64        // consumer sequence of the last message; only receive uses it
}

var _ Watch = (*pushWatch)(nil)

// subscribe listens for what a consumer, which is yet to be made, will send to inbox.
func (c *Conn) subscribe(of *stream, consumer, inbox string) (*pushWatch, error) {
	w := &pushWatch{
		conn: c, consumer: consumer, stream: of.bucket.Stream(), prefix: of.bucket.Subject(""), prepare: of.bucket == Keys, wanted: of.wanted,
		deliveries: make(chan Delivery, deliveryBacklog),
		failed:     make(chan error, 1),
		stopped:    make(chan struct{}),
		drained:    make(chan struct{}),
	}
	w.lost = &waiter{end: w.fail}
	c.addWaiter(w.lost)
	var err error
	if w.sub, err = c.nc.Subscribe(inbox, w.receive); err != nil {
		c.dropWaiter(w.lost)
		return nil, err
	}
	w.sub.SetClosedHandler(func(string) { close(w.drained) })
	if !w.sub.IsValid() { // closed with the connection, perhaps before there was a handler
		c.dropWaiter(w.lost)
		return nil, errClosed
	}
	return w, nil
}

func (w *pushWatch) Deliveries() <-chan Delivery { return w.deliveries }
func (w *pushWatch) Failed() <-chan error        { return w.failed }

func (w *pushWatch) Stop() {
	w.stop.Do(func() {
		w.conn.dropWaiter(w.lost)
		close(w.stopped)
		_ = w.sub.Unsubscribe() // fails only when the connection is closed, and the subscription with it
	})
	<-w.drained
}

func (w *pushWatch) fail(err error) {
	select {
	case w.failed <- err:
	default: // the first error counts
	}
}

// receive runs on the subscription's own goroutine, one message after the other. While it waits for the feed, messages queue up in
// the client, and no more of them than flow control allows: the request for flow control is in the queue behind them.
func (w *pushWatch) receive(m *nats.Msg) {
	d, ok := w.read(m)
	if !ok {
		return
	}
	if w.prepare && d.Pending > 0 && w.wanted.has(d.Entry.Name) { // there is much to read: the feed applies what came before meanwhile
		d.Entry.Prepare()
	}
	select {
	case w.deliveries <- d:
	case <-w.stopped:
	}
}

// read turns a message into a delivery. It reports false for what is none, and when the watch has failed.
func (w *pushWatch) read(m *nats.Msg) (Delivery, bool) {
	if !strings.HasPrefix(m.Reply, "$JS.ACK.") {
		// All stored messages have that reply, and nothing else has. (A status header is no proof: a writer may store one.)
		return w.control(m)
	}
	meta, err := m.Metadata()
	if err != nil || meta.Consumer != w.consumer || meta.Stream != w.stream || !strings.HasPrefix(m.Subject, w.prefix) {
		return Delivery{}, false // somebody else's consumer, aimed at our inbox
	}
	if meta.Sequence.Consumer != w.consumed+1 {
		w.fail(errMissed)
		return Delivery{}, false
	}
	w.consumed = meta.Sequence.Consumer
	return Delivery{
		Entry:   entryOf(m.Subject[len(w.prefix):], m.Data, m.Header, meta.Sequence.Stream, meta.Timestamp),
		Through: meta.Sequence.Stream,
		Pending: meta.NumPending,
	}, true
}

// control answers flow control and reads heartbeats. A heartbeat follows everything that the consumer has sent before.
func (w *pushWatch) control(m *nats.Msg) (Delivery, bool) {
	const flowControl = "$JS.FC."
	if strings.HasPrefix(m.Reply, flowControl) { // whoever answers has taken all that came before
		w.answer(m.Reply)
		return Delivery{}, false
	}
	if m.Header.Get("Nats-Stream") != "" {
		return Delivery{}, false // a stored message that somebody asked for, with our inbox for the answer
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); strings.HasPrefix(stalled, flowControl) {
		w.answer(stalled) // the request for flow control got lost
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

func (w *pushWatch) answer(subject string) {
	_ = w.conn.nc.Publish(subject, nil) // fails when the connection is lost, and the watch with it
}

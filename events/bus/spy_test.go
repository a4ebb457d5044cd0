package bus_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// spy is another holder of the credential that a node has. It hears what the node hears, and so learns the node's inbox and the name
// of its consumer on KEYS.
type spy struct {
	jetstream.JetStream
	consumer, inbox string
}

func newSpy(n *node) *spy {
	n.t.Helper()
	s := &spy{JetStream: n.Connect(bus.Verifier).JetStream()}
	heard := make(chan *nats.Msg, 1000)
	sub, err := s.Conn().ChanSubscribe(n.conn.InboxPrefix()+".>", heard)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := s.Conn().Flush(); err != nil {
		n.t.Fatal(err)
	}
	last := n.client("heard")
	for deadline := time.After(eventstest.Patience); s.consumer == "" || s.inbox == ""; {
		select {
		case m := <-heard:
			if rest, ok := strings.CutPrefix(m.Reply, "$JS.ACK."+bus.Keys.Stream()+"."); ok {
				s.consumer, _, _ = strings.Cut(rest, ".")
			}
			if m.Header.Get("Nats-Last-Stream") == strconv.FormatUint(last, 10) {
				s.inbox = m.Subject // that of a heartbeat
			}
		case <-deadline:
			n.t.Fatal("the spy heard nothing")
		}
	}
	if err := sub.Unsubscribe(); err != nil {
		n.t.Fatal(err)
	}
	return s
}

// change gives the node's consumer another setting.
func (s *spy) change(n *node, set func(*jetstream.ConsumerConfig)) {
	n.t.Helper()
	cfg := jetstream.ConsumerConfig{
		Name: s.consumer, DeliverSubject: s.inbox, FilterSubject: bus.Keys.Filter(),
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy, MaxDeliver: 1,
		FlowControl: true, IdleHeartbeat: bus.Heartbeat, InactiveThreshold: 10 * time.Second, Replicas: 1, MemoryStorage: true,
	}
	set(&cfg)
	ctx, cancel := context.WithTimeout(n.t.Context(), eventstest.Patience)
	defer cancel()
	if _, err := s.UpdatePushConsumer(ctx, bus.Keys.Stream(), cfg); err != nil {
		n.t.Fatalf("the server refuses it: %v", err)
	}
}

// TestN_ConsumerDeleted takes the consumer away under a live node.
func TestN_ConsumerDeleted(t *testing.T) {
	n := startNode(t)
	s := newSpy(n)
	if err := n.Connect(bus.Operator).JetStream().DeleteConsumer(t.Context(), bus.Keys.Stream(), s.consumer); err != nil {
		t.Fatal(err)
	}
	n.Write(bus.Keys, "key.orders.k3", eventstest.KeyJSON(3))
	n.agree()
	if status := n.set.Status().Keys; status.Resyncs != 1 || status.Gaps != 1 {
		t.Errorf("status is %+v, want it to have resumed once", status)
	}
}

// TestN_NobodyElseCanSpeakOnOurInbox aims consumers, and an answer, at a node's inbox. Nobody but the server can publish there.
func TestN_NobodyElseCanSpeakOnOurInbox(t *testing.T) {
	n := startNode(t)
	s := newSpy(n)
	aim := func(b bus.Bucket, name string, heartbeat time.Duration) {
		_, err := s.CreatePushConsumer(t.Context(), b.Stream(), jetstream.ConsumerConfig{
			Name: name, DeliverSubject: s.inbox, AckPolicy: jetstream.AckNonePolicy, FilterSubject: b.Filter(),
			IdleHeartbeat: heartbeat, InactiveThreshold: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// What a heartbeat would say, stored for an answer to carry.
	forged := nats.Header{"Status": {"100"}, "Nats-Last-Consumer": {"5"}, "Nats-Last-Stream": {"999999"}}
	n.applied(n.Publish(bus.Keys, "issuer.forged", "", forged))
	aim(bus.Keys, "other", 0)
	aim(bus.Revocations, "other", 0)
	n.Write(bus.Revocations, "short", "x") // its subject is shorter than any in KEYS
	for range 10 {
		subject := "$JS.API.DIRECT.GET." + bus.Keys.Stream() + "." + bus.Keys.Subject("issuer.forged")
		if err := s.Conn().PublishRequest(subject, s.inbox, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	n.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
	n.agree()
	n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyActive, "k2": events.KeyActive})
	if status := n.set.Status().Keys; status.Gaps != 0 {
		t.Errorf("status is %+v, and nothing was amiss", status)
	}

	// The heartbeat of another consumer cannot be told from that of our own. It may cost us the watch, and nothing else.
	aim(bus.Keys, "beating", 100*time.Millisecond)
	aim(bus.Revocations, "beating", 100*time.Millisecond)
	last := n.Write(bus.Keys, "key.orders.k3", eventstest.KeyJSON(3))
	n.agree()
	if status := n.set.Status().Keys; status.Revision != last {
		t.Errorf("status is %+v", status)
	}
}

// TestN_ConsumerIsGivenAnotherFilter lets the spy change the node's consumer, which the server cannot refuse: who may make a
// consumer may change one whose name and inbox he knows. It brings nothing any more, and says that it is through with everything.
func TestN_ConsumerIsGivenAnotherFilter(t *testing.T) {
	n := startNode(t)
	s := newSpy(n)
	s.change(n, func(cfg *jetstream.ConsumerConfig) { cfg.FilterSubject = bus.Keys.Subject("nothing") })
	n.Write(bus.Keys, "revoked.orders.k1", `{"reason":"leaked"}`)
	n.agree()
	if state := n.set.Keys().Key("orders", "k1").State(time.Now()); state != events.KeyRevoked {
		t.Errorf("a revocation was hidden: the key is %s", state)
	}
	if status := n.set.Status().Keys; status.Gaps != 1 || status.Resyncs != 1 {
		t.Errorf("status is %+v, want it to have resumed once", status)
	}
}

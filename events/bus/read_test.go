package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestN_ReadBringsAllThatIsRetained(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	conn := server.Connect(bus.Operator)
	nothing := func(e events.Entry) error { return fmt.Errorf("there is %s", e.Name) }
	if through, err := conn.Read(soon(t), bus.Keys, nothing); err != nil || through != 0 {
		t.Errorf("an empty bucket: up to %d, %v", through, err)
	}
	for i := range events.History + 2 {
		server.Write(bus.Keys, "issuer.orders", fmt.Sprint(i))
	}
	server.Delete(bus.Keys, "issuer.orders")
	server.Write(bus.Keys, "weird", "\xff")
	var all []events.Entry
	through, err := conn.Read(soon(t), bus.Keys, func(e events.Entry) error {
		all = append(all, e)
		return nil
	})
	if err != nil || through != 20 || len(all) != events.History+1 {
		t.Fatalf("%d messages up to %d, %v", len(all), through, err)
	}
	if first, last := all[0], all[16]; first.Revision != 4 || string(first.Value) != "3" || last.Name != "weird" || !all[15].Deleted {
		t.Errorf("from %+v to %+v", first, last)
	}
	x, err := conn.Extent(soon(t), bus.Keys)
	if err != nil || x.Stream != "KV_KEYS" || x.First != 4 || x.Last != 20 || x.Messages != 17 || time.Since(x.Created) > time.Hour || time.Since(x.Time).Abs() > time.Minute {
		t.Errorf("%+v, %v", x, err)
	}
	if x, err = conn.Extent(soon(t), bus.Usage); err != nil || x.First != 1 || x.Last != 0 {
		t.Errorf("of an empty bucket: %+v, %v", x, err)
	}
	unwilling := errors.New("enough")
	if _, err := conn.Read(soon(t), bus.Keys, func(events.Entry) error { return unwilling }); !errors.Is(err, unwilling) {
		t.Errorf("an error of who reads: %v", err)
	}
}

// A bucket of which all names are written again, and that keeps one message of each, is read without missing a name: what was
// pushed out before it was read has a successor, which comes.
func TestN_ReadMissesNothingThatIsPushedOutMeanwhile(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	const names = 400
	value := string(make([]byte, 15_000)) // of all of them together, not everything is under way at one time
	for i := range names {
		server.Write(bus.Usage, fmt.Sprint(i), value)
	}
	seen := map[string]bool{}
	through, err := server.Connect(bus.Operator).Read(soon(t), bus.Usage, func(e events.Entry) error {
		if len(seen) == 0 {
			for i := range names {
				server.Write(bus.Usage, fmt.Sprint(i), value)
			}
		}
		seen[e.Name] = true
		return nil
	})
	if err != nil || len(seen) != names {
		t.Errorf("%d of %d names up to %d, %v", len(seen), names, through, err)
	}
}

// told is a watch that delivers what a test says.
type told struct {
	deliveries chan bus.Delivery
	failed     chan error
}

func (w told) Deliveries() <-chan bus.Delivery { return w.deliveries }
func (w told) Failed() <-chan error            { return w.failed }
func (told) Stop()                             {}

// A watch may say that nothing is pending when it has not sent everything, and may send a message twice.
func TestN_ReadBelievesTheStreamAndNotTheWatch(t *testing.T) {
	t.Parallel()
	message := func(revision, pending uint64) bus.Delivery {
		return bus.Delivery{Entry: events.Entry{Name: "n", Revision: revision}, Through: revision, Pending: pending}
	}
	w := told{make(chan bus.Delivery, 10), make(chan error, 1)}
	for _, d := range []bus.Delivery{{Through: 0}, message(1, 0), message(1, 0), {Through: 1}, message(3, 1), message(4, 0), message(5, 0)} {
		w.deliveries <- d
	}
	var seen []uint64
	take := func(e events.Entry) error {
		seen = append(seen, e.Revision)
		return nil
	}
	through, err := bus.ReadThrough(soon(t), w, 3, take)
	if err != nil || through != 4 || !slices.Equal(seen, []uint64{1, 3, 4}) {
		t.Errorf("%d up to %d, %v", seen, through, err)
	}
	<-w.deliveries
	lost := errors.New("lost")
	w.failed <- lost
	if _, err := bus.ReadThrough(soon(t), w, 9, take); !errors.Is(err, lost) {
		t.Errorf("a watch that has failed: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := told{make(chan bus.Delivery, 10), make(chan error, 1)}
		if _, err := bus.ReadThrough(t.Context(), w, 9, take); err == nil {
			t.Error("a watch that has fallen silent is taken for one that has nothing to say")
		}
	})
}

func TestN_ReadOfABucketWhoseMessagesHaveExpired(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	server.Publish(bus.Keys, "key.platform.n1", "x", nats.Header{"Nats-TTL": {"1s"}})
	conn := server.Connect(bus.Operator)
	eventstest.Eventually(t, "the message has expired", func() bool {
		x, err := conn.Extent(soon(t), bus.Keys)
		return err == nil && x.Messages == 0
	})
	through, err := conn.Read(soon(t), bus.Keys, func(e events.Entry) error { return fmt.Errorf("there is %s", e.Name) })
	if err != nil || through != 1 {
		t.Errorf("up to %d, %v", through, err)
	}
}

// A connection that is lost in the middle is an error, and not the end of the bucket.
func TestN_ReadThatIsCutOffSaysSo(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	proxy := eventstest.NewProxy(t, server.URL())
	conn := server.ConnectAt(proxy.URL(), bus.Operator)
	for i := range 500 { // 5 MB: more than is under way at one time
		server.Write(bus.Clients, fmt.Sprint("c", i), string(make([]byte, 10_000)))
	}
	read := 0
	_, err := conn.Read(soon(t), bus.Clients, func(events.Entry) error {
		if read++; read == 10 {
			proxy.Cut()
		}
		return nil
	})
	if !errors.Is(err, bus.ErrUnreachable) {
		t.Errorf("after %d messages: %v", read, err)
	}
	if _, err := server.Connect(bus.Verifier).Read(soon(t), bus.Clients, nil); !errors.Is(err, bus.ErrPermission) {
		t.Errorf("with a verifier's credential: %v", err)
	}
}

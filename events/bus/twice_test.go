package bus_test

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// repeater is a network that brings every write twice, and only the second answer, as two servers of a cluster do that have two
// connections to each other for a moment, or as two that both take themselves for the leader.
type repeater struct {
	net.Listener
	writes, dropped atomic.Int64
}

func newRepeater(t *testing.T, serverURL string) *repeater {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &repeater{Listener: l}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(serverURL, "nats://"))
			if err != nil {
				client.Close()
				return
			}
			go r.carry(server, client, r.repeat)
			go r.carry(client, server, r.drop)
		}
	}()
	return r
}

func (r *repeater) repeat(b []byte) []byte {
	if bytes.Contains(b, []byte("HPUB $KV.")) {
		r.writes.Add(1)
		return bytes.Repeat(b, 2)
	}
	return b
}

// drop leaves out the first acknowledgement: MSG <inbox> <sid> <length>, {…"seq":1…}.
func (r *repeater) drop(b []byte) []byte {
	if seq := bytes.Index(b, []byte(`"seq":`)); seq >= 0 && r.dropped.CompareAndSwap(0, 1) {
		begin, end := bytes.LastIndex(b[:seq], []byte("MSG ")), seq+bytes.Index(b[seq:], []byte("}\r\n"))+len("}\r\n")
		return slices.Delete(b, begin, end)
	}
	return b
}

// carry moves what becomes of what comes.
func (r *repeater) carry(to, from net.Conn, change func([]byte) []byte) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err == nil {
			_, err = to.Write(change(buf[:n]))
		}
		if err != nil {
			return
		}
	}
}

// TestN_AWriteThatArrivesTwiceDoesNotConflictWithItself: seen in a cluster whose servers had just found each other again.
func TestN_AWriteThatArrivesTwiceDoesNotConflictWithItself(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	network := newRepeater(t, n.URL())
	conn := n.ConnectAt("nats://"+network.Addr().String(), bus.Operator)
	revision, err := conn.Put(soon(t), bus.Put{Bucket: bus.Keys, Name: "key.orders.k1", Value: []byte("ours")})
	if err != nil || revision != 1 {
		t.Errorf("it was written at revision %d: %v", revision, err)
	}
	if network.writes.Load() == 0 || network.dropped.Load() == 0 {
		t.Error("nothing arrived twice: that proves nothing")
	}
}

// TestN_AConflictWithNothingThatIsThereEnds has a writer who knows a revision that the bucket has not, as after a restore.
func TestN_AConflictWithNothingThatIsThereEnds(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	n.Write(bus.Keys, "key.orders.k1", "theirs")
	conn := n.Connect(bus.Operator)
	for _, name := range []string{"key.orders.k1", "key.orders.k2"} {
		ctx := soon(t)
		if _, err := conn.Put(ctx, bus.Put{Bucket: bus.Keys, Name: name, Replaces: 7}); !errors.Is(err, bus.ErrConflict) || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

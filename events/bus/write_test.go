package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// soon is a context for what must be found out quickly; on failure it gives the test up, not the behaviour.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), eventstest.Patience)
	t.Cleanup(cancel)
	return ctx
}

func put(name, value string, replaces uint64) bus.Put {
	return bus.Put{Bucket: bus.Keys, Name: name, Value: []byte(value), Replaces: replaces, Caller: "test"}
}

func TestN_AWriteReplacesExactlyOneRevision(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	conn := server.Connect(bus.Operator)
	first, err := conn.Put(soon(t), put("key.orders.k1", "a", 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, replaces := range []uint64{0, first + 1} {
		if _, err := conn.Put(soon(t), put("key.orders.k1", "b", replaces)); !errors.Is(err, bus.ErrConflict) {
			t.Errorf("replacing revision %d: %v", replaces, err)
		}
	}
	second, err := conn.Put(soon(t), put("key.orders.k1", "b", first))
	if err != nil {
		t.Fatal(err)
	}
	marker := server.Delete(bus.Keys, "key.orders.k1")
	e, err := conn.Get(soon(t), bus.Keys, "key.orders.k1")
	if err != nil || !e.Deleted || e.Revision != marker || marker <= second {
		t.Errorf("after a delete: %+v, %v", e, err)
	}
	if _, err := conn.Put(soon(t), put("key.orders.k1", "c", 0)); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("a deleted name counts as new: %v", err)
	}
	if _, err := conn.Put(soon(t), put("key.orders.k1", "c", marker)); err != nil {
		t.Errorf("replacing the marker: %v", err)
	}
	if e, err = conn.Get(soon(t), bus.Keys, "key.orders.k1"); err != nil || string(e.Value) != "c" || e.Caller != "test" {
		t.Errorf("read back %+v, %v", e, err)
	}
}

func TestN_ConcurrentUpdatesLoseNothing(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	const writers, each = 8, 10
	var group sync.WaitGroup
	for range writers {
		conn := server.Connect(bus.Operator)
		group.Go(func() {
			for range each {
				_, err := conn.Update(t.Context(), bus.Keys, "counter", "test", func(e events.Entry) (bus.Decision, error) {
					n, _ := strconv.Atoi(string(e.Value)) // zero before the first
					return bus.Decision{Value: []byte(strconv.Itoa(n + 1))}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	e, err := server.Connect(bus.Operator).Get(soon(t), bus.Keys, "counter")
	if err != nil || string(e.Value) != strconv.Itoa(writers*each) || e.Revision != writers*each {
		t.Errorf("%d updates made %q at revision %d, %v", writers*each, e.Value, e.Revision, err)
	}
}

// TestN_AWriteWhoseAnswerGetsLostIsFound lets the acknowledgement of a write disappear on the way.
func TestN_AWriteWhoseAnswerGetsLostIsFound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// meanwhile happens after the write has arrived, or not, and before the network is mended.
		arrives   bool
		meanwhile func(server *eventstest.NATS, name string)
		want      error
		writes    int // messages on the name in the end
	}{
		{"it arrived: its revision is found and it is not repeated", true, nil, nil, 1},
		{"it did not arrive: it is sent again", false, nil, nil, 1},
		{"another came first: a conflict", false, func(server *eventstest.NATS, name string) { server.Write(bus.Keys, name, "theirs") }, bus.ErrConflict, 1},
		{"another followed: it is found in the history", true, func(server *eventstest.NATS, name string) { server.Write(bus.Keys, name, "theirs") }, nil, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := eventstest.Server(t)
			proxy := eventstest.NewProxy(t, server.URL())
			conn := server.ConnectAt(proxy.URL(), bus.Operator)
			beside := server.Connect(bus.Operator)
			const name = "key.orders.k1"
			// One request on the connection first, so that only the write's own answer is missing.
			if _, err := conn.Get(soon(t), bus.Keys, name); !errors.Is(err, bus.ErrNotFound) {
				t.Fatal(err)
			}
			if test.arrives {
				proxy.Mute()
			} else {
				proxy.Cut()
			}
			type result struct {
				revision uint64
				err      error
			}
			done := make(chan result, 1)
			go func() {
				for {
					revision, err := conn.Put(soon(t), put(name, "ours", 0))
					if !test.arrives && errors.Is(err, bus.ErrUnreachable) && !errors.Is(err, bus.ErrUnknownOutcome) {
						continue // not sent at all: the caller may do it again
					}
					done <- result{revision, err}
					return
				}
			}()
			if test.arrives {
				eventstest.Eventually(t, "the write has arrived", func() bool {
					_, err := beside.Get(t.Context(), bus.Keys, name)
					return err == nil
				})
			}
			if test.meanwhile != nil {
				test.meanwhile(server, name)
			}
			proxy.Mend()
			got := <-done
			if !errors.Is(got.err, test.want) || (got.err == nil) != (test.want == nil) {
				t.Errorf("revision %d, %v; want %v", got.revision, got.err, test.want)
			}
			if got.err == nil && got.revision != 1 {
				t.Errorf("found at revision %d", got.revision)
			}
			if e, err := beside.Get(soon(t), bus.Keys, name); err != nil || e.Revision != uint64(test.writes) {
				t.Errorf("the name is at revision %d, %v; want %d writes", e.Revision, err, test.writes)
			}
		})
	}
}

func TestN_AnOutcomeThatCannotBeFoundOutIsCalledUnknown(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	proxy := eventstest.NewProxy(t, server.URL())
	conn := server.ConnectAt(proxy.URL(), bus.Operator)
	proxy.Mute()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := conn.Put(ctx, put("key.orders.k1", "a", 0)); !errors.Is(err, bus.ErrUnknownOutcome) {
		t.Errorf("%v", err)
	}
}

func TestN_EachReasonForWhichAWriteFailsIsTold(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	operator := server.Connect(bus.Operator)

	t.Run("a role that may not write", func(t *testing.T) {
		ctx := soon(t)
		began := time.Now()
		_, err := server.Connect(bus.Verifier).Put(ctx, put("key.orders.k1", "a", 0))
		if !errors.Is(err, bus.ErrPermission) {
			t.Errorf("%v", err)
		}
		t.Logf("refused after %s", time.Since(began))
	})
	t.Run("a value that is too large", func(t *testing.T) {
		_, err := operator.Put(soon(t), put("key.orders.k1", strings.Repeat("a", events.MaxValue+1), 0))
		if !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("%v", err)
		}
		if _, err := operator.Put(soon(t), put("key.orders.k1", strings.Repeat("a", events.MaxValue), 0)); err != nil {
			t.Errorf("the largest value: %v", err)
		}
	})
	t.Run("no message on the name", func(t *testing.T) {
		if _, err := operator.Get(soon(t), bus.Keys, "key.orders.none"); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no bucket", func(t *testing.T) {
		if err := server.Admin().DeleteStream(soon(t), bus.Usage.Stream()); err != nil {
			t.Fatal(err)
		}
		if _, err := operator.Put(soon(t), bus.Put{Bucket: bus.Usage, Name: "a", Value: []byte("b")}); !errors.Is(err, bus.ErrNoBucket) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		lost := server.Connect(bus.Operator)
		server.Stop()
		eventstest.Eventually(t, "the write fails for want of a server", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the first may find out only that the answer is lost
			defer cancel()
			_, err := lost.Put(ctx, put("key.orders.k1", "a", 0))
			return errors.Is(err, bus.ErrUnreachable) && !errors.Is(err, bus.ErrUnknownOutcome)
		})
		_, err := bus.Connect(soon(t), bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Operator)})
		if !errors.Is(err, bus.ErrUnreachable) {
			t.Errorf("%v", err)
		}
	})
}

func TestN_ALeaseIsForgottenByTheBucketAfterItsTime(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	conn := server.Connect(bus.Operator)
	p := put("key.platform.k1", "a", 0)
	p.TTL = time.Second
	if _, err := conn.Put(soon(t), p); err != nil {
		t.Fatal(err)
	}
	eventstest.Eventually(t, "the message has expired", func() bool {
		_, err := conn.Get(t.Context(), bus.Keys, p.Name)
		return errors.Is(err, bus.ErrNotFound)
	})
}

func TestN_CallersCannotWriteHeaders(t *testing.T) {
	t.Parallel()
	conn := eventstest.Server(t).Connect(bus.Operator)
	p := put("key.orders.k1", "a", 0)
	p.Caller = "eve\r\nNats-Rollup: all\r\n" + strings.Repeat("x", 2000)
	if _, err := conn.Put(soon(t), p); err != nil {
		t.Fatal(err)
	}
	e, err := conn.Get(soon(t), bus.Keys, p.Name)
	if err != nil || strings.ContainsAny(e.Caller, "\r\n") || len(e.Caller) > 256 || !strings.HasPrefix(e.Caller, "eve") {
		t.Errorf("caller %s, %v", fmt.Sprintf("%.40q", e.Caller), err)
	}
}

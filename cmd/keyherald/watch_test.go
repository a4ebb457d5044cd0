package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/bus"
)

func TestWatchSaysWhenItLosesAndRegainsContact(t *testing.T) {
	feed := func(change func(*bus.FeedStatus)) bus.KeySetStatus {
		st := bus.KeySetStatus{
			Keys:        bus.FeedStatus{CaughtUp: true, Revision: 7, Resyncs: 1},
			Revocations: bus.FeedStatus{CaughtUp: true, Resyncs: 1},
		}
		if change != nil {
			change(&st.Keys)
		}
		return st
	}
	down := func(st *bus.FeedStatus) { st.Err, st.Gaps = errors.New("the connection\nwas lost"), 1 }
	for _, test := range []struct {
		name  string
		looks []bus.KeySetStatus
		want  []string // what is said at each look; empty: nothing
	}{
		{"while all is well nothing", []bus.KeySetStatus{feed(nil), feed(func(st *bus.FeedStatus) { st.Revision = 9 })}, []string{"", ""}},
		{"a loss once, and the return",
			[]bus.KeySetStatus{feed(down), feed(down), feed(func(st *bus.FeedStatus) { st.Gaps, st.Revision = 1, 9 }), feed(func(st *bus.FeedStatus) { st.Gaps = 1 })},
			[]string{"lost contact with NATS: changes are shown when it is back (the connection; was lost)", "", "in contact with NATS again: complete up to revision 9", ""}},
		{"a loss between two looks", []bus.KeySetStatus{feed(func(st *bus.FeedStatus) { st.Gaps = 2 })}, []string{"in contact with NATS again"}},
		{"a bucket that is read again",
			[]bus.KeySetStatus{feed(func(st *bus.FeedStatus) { st.CaughtUp = false }), feed(func(st *bus.FeedStatus) { st.Resyncs = 2 })},
			[]string{"the bucket is being read again", "read again from the beginning: of what changed meanwhile only the result was shown, not who did it"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newContact(feed(nil))
			for i, st := range test.looks {
				got := c.look(st, nil)
				if test.want[i] == "" && got != "" || !strings.Contains(got, test.want[i]) {
					t.Errorf("look %d said %q, want %q", i, got, test.want[i])
				}
			}
		})
	}
	c := newContact(feed(nil))
	for i, want := range []string{"lost contact", "does not let us in again: refused", "", "in contact with NATS again"} {
		st, refusal := feed(down), errors.New("refused")
		switch i {
		case 0:
			refusal = nil
		case 3:
			st, refusal = feed(nil), nil
		}
		if got := c.look(st, refusal); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("a credential that was revoked: look %d said %q, want %q", i, got, want)
		}
	}
}

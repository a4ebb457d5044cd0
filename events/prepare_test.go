package events

import (
	"slices"
	"testing"
)

// TestPreparedEntriesMakeTheSameSet, with the same changes told, whatever the entries are.
func TestPreparedEntriesMakeTheSameSet(t *testing.T) {
	read, malformed := 0, 0
	for seed := range uint64(20) {
		h := newHistory(seed + 1)
		var told, toldToo []Change
		plain := NewSet(func(c Change) { told = append(told, c) })
		ahead := NewSet(func(c Change) { toldToo = append(toldToo, c) })
		for n := range 250 {
			e := h.step()
			if n == 0 {
				e = h.put("key.orders.k2", with(ed, "kid", h.pick(`"k1"`, `"k2"`))) // of which one is malformed
			}
			plain.Apply(e)
			e.Prepare()
			if p := e.prepared; p != nil {
				read++
				if p.err != nil {
					malformed++
				}
				e.Value = nil // it has been read: Apply needs it no more
			}
			ahead.Apply(e)
		}
		if diff := viewOf(t, plain, h.now).difference(viewOf(t, ahead, h.now)); diff != "" {
			t.Fatalf("seed %d: without and with Prepare\n%s", seed+1, diff)
		}
		if !slices.Equal(told, toldToo) {
			t.Fatalf("seed %d: other changes are told with Prepare", seed+1)
		}
	}
	if read < 1000 || malformed < 100 {
		t.Errorf("%d values were prepared, %d of them malformed: that shows nothing", read, malformed)
	}
}

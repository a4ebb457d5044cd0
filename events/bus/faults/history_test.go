//go:build linux

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// outcome is what a writer was told.
type outcome uint8

const (
	unknown outcome = iota
	written
	conflict
	unsent
)

// write is one compare-and-set write of a register, which is the record of a key: what was written, and what the writer was told.
type write struct {
	writer    int
	name      string
	value     string // no two writes have the same
	replaces  uint64
	called    time.Duration // since the history began
	returned  time.Duration
	outcome   outcome
	revision  uint64 // if it was written
	forgotten bool   // nobody was told that it was written, and it was not
}

// perRegister is how many writes a register sees: the bucket must remember them all.
const perRegister = events.History - 4

// history is what some writers do, and what they are told.
type history struct {
	client events.Name
	began  time.Time

	mu        sync.Mutex
	writes    []write
	acked     []write        // in the order in which they were acknowledged
	registers map[string]int // how many writes each of those has that are still written to
	made      int
	values    int
}

func newHistory(client events.Name) *history {
	return &history{client: client, began: time.Now(), registers: map[string]int{}}
}

// open are the registers that are written to now. The caller holds mu.
func (h *history) open() []string {
	const atATime = 3
	for len(h.registers) < atATime {
		h.registers[events.KeyRecord(h.client, events.KeyID(fmt.Sprint("r", h.made))).String()] = 0
		h.made++
	}
	var names []string
	for name := range h.registers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// begin chooses what to write.
func (h *history) begin(writer int, random *rand.Rand, known map[string]uint64) write {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := h.open()
	name := names[random.IntN(len(names))]
	if h.registers[name]++; h.registers[name] >= perRegister {
		delete(h.registers, name)
	}
	h.values++
	return write{
		writer: writer, name: name, replaces: known[name], value: eventstest.KeyJSON(1, fmt.Sprintf(`"iat":%d`, h.values)), called: time.Since(h.began),
	}
}

func (h *history) end(w write) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.returned = time.Since(h.began)
	h.writes = append(h.writes, w)
	if w.outcome == written {
		h.acked = append(h.acked, w)
	}
}

// acknowledged returns the writes that have been acknowledged, but for the first ones.
func (h *history) acknowledged(after int) []write {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked[after:]
}

// run writes until ctx ends.
func (h *history) run(ctx context.Context, writer int, conn *bus.Conn, seed uint64) {
	const patience, pace = 3 * time.Second, 60 * time.Millisecond
	random, known := rand.New(rand.NewPCG(seed, uint64(writer))), map[string]uint64{}
	for ctx.Err() == nil {
		w := h.begin(writer, random, known)
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		revision, err := conn.Put(one, bus.Put{Bucket: bus.Keys, Name: w.name, Value: []byte(w.value), Replaces: w.replaces})
		cancel()
		switch {
		case err == nil:
			w.outcome, w.revision, known[w.name] = written, revision, revision
		case errors.Is(err, bus.ErrConflict):
			w.outcome = conflict
		case errors.Is(err, bus.ErrUnreachable):
			w.outcome = unsent
		}
		h.end(w)
		if err != nil { // somebody else's, perhaps: what is read may be old, and the next write will tell
			one, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			if e, err := conn.Get(one, bus.Keys, w.name); err == nil {
				known[w.name] = e.Revision
			}
			cancel()
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(random.Int64N(int64(pace)))):
		}
	}
}

// settle finds out about the writes with an unknown outcome, by what is in the bucket in the end: it has forgotten none.
func (h *history) settle(log []events.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.writes {
		w := &h.writes[i]
		if w.outcome != unknown {
			continue
		}
		w.returned = time.Since(h.began) // at any time until now
		w.forgotten = true
		for _, e := range log {
			if e.Name == w.name && string(e.Value) == w.value {
				w.outcome, w.revision, w.forgotten = written, e.Revision, false
			}
		}
	}
}

// check returns what is wrong with the history, given what is in the bucket in the end.
func (h *history) check(log []events.Entry) (wrong []string) {
	h.settle(log)
	at := map[uint64]events.Entry{}
	for _, e := range log {
		at[e.Revision] = e
	}
	var operations []porcupine.Operation
	for _, w := range h.writes {
		if w.outcome == written {
			if e, ok := at[w.revision]; !ok || e.Name != w.name || string(e.Value) != w.value {
				wrong = append(wrong, fmt.Sprintf("the write of %s at revision %d was acknowledged and is not there", w.name, w.revision))
			}
		}
		if !w.forgotten && w.outcome != unsent {
			operations = append(operations, porcupine.Operation{
				ClientId: w.writer, Input: w, Call: int64(w.called), Return: int64(w.returned), Output: h.excused(w),
			})
		}
	}
	switch porcupine.CheckOperationsTimeout(registers(), operations, time.Minute) {
	case porcupine.Illegal:
		wrong = append(wrong, "the compare-and-set writes cannot have happened one after the other:\n"+h.String())
	case porcupine.Unknown:
		wrong = append(wrong, "it took too long to find out whether the compare-and-set writes can have happened one after the other")
	}
	return wrong
}

// excused reports whether a conflict may have been with a write that was under way and came to nothing: a leader that is about to lose its
// place holds the next writes to it. That writer was told nothing, and nobody has won.
func (h *history) excused(c write) bool {
	return c.outcome == conflict && slices.ContainsFunc(h.writes, func(w write) bool {
		return w.forgotten && w.name == c.name && w.called < c.returned
	})
}

// registers is the model: the state of each is the revision of its last message.
func registers() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			byName := map[string][]porcupine.Operation{}
			for _, o := range all {
				name := o.Input.(write).name
				byName[name] = append(byName[name], o)
			}
			var parts [][]porcupine.Operation
			for _, part := range byName {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() any { return uint64(0) },
		Step: func(state, input, output any) (bool, any) {
			last, w := state.(uint64), input.(write)
			if w.outcome == written {
				return w.replaces == last && w.revision > last, w.revision
			}
			return w.replaces != last || output.(bool), last
		},
	}
}

func (h *history) String() string {
	var b strings.Builder
	for _, w := range h.writes {
		what := map[outcome]string{unknown: "unknown", written: fmt.Sprint("written at ", w.revision), conflict: "conflict", unsent: "not sent"}[w.outcome]
		fmt.Fprintf(&b, "%9.3f %9.3f writer %d %s replaces %d: %s\n", w.called.Seconds(), w.returned.Seconds(), w.writer, w.name, w.replaces, what)
	}
	return b.String()
}

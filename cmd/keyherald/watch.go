package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

type watchCmd struct {
	reach
	JSON bool `name:"json" help:"Print JSON lines."`
}

// changeLine is a line of watch --json. It is an interface: members are added, not changed.
type changeLine struct {
	Time      time.Time `json:"time"`       // the server's, of the message
	Revision  uint64    `json:"revision"`   // in its bucket
	Event     string    `json:"event"`      // such as "key registered"
	Name      string    `json:"name"`       // of the record
	LatencyMS float64   `json:"latency_ms"` // from the server's time to applied here; clocks may differ
	Caller    string    `json:"caller"`
	Reason    string    `json:"reason,omitempty"`
}

const (
	watchBacklog = 1 << 16 // changes that may wait while the terminal is slow
	lookEvery    = 250 * time.Millisecond
)

func (c *watchCmd) Run(ctx context.Context, a *app) error {
	start, conn, done, err := c.connect(ctx, a, bus.Verifier)
	if err != nil {
		return err
	}
	defer done()
	keys := conn.FollowKeys(a.log)
	defer keys.Close()
	changes := keys.Subscribe(watchBacklog)
	defer changes.Close()
	if err := keys.Wait(start); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "watching from revision %d; stop with ctrl-c\n", keys.Keys().Revision())
	contact := newContact(keys.Status())
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case change, ok := <-changes.C():
			if !ok {
				return errors.New("the output was too slow: changes were missed; see keyherald status for what is now")
			}
			if err := c.print(a, change, time.Now()); err != nil {
				return err
			}
		case <-look.C:
			if news := contact.look(keys.Status(), conn.Refusal()); news != "" {
				fmt.Fprintf(a.err, "%s  %s\n", time.Now().Format(time.TimeOnly), news)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *watchCmd) print(a *app, change events.Change, now time.Time) error {
	latency := float64(now.Sub(change.Time).Microseconds()) / 1000
	if c.JSON {
		return json.NewEncoder(asciiJSON{a.out}).Encode(changeLine{
			Time: change.Time.UTC(), Revision: change.Revision, Event: string(change.Event), Name: change.Name, LatencyMS: latency,
			Caller: change.Caller, Reason: change.Reason,
		})
	}
	line := fmt.Sprintf("%s  revision %-6d  %-15s  %s  after %.1f ms  by %s",
		change.Time.Local().Format(time.TimeOnly), change.Revision, change.Event, printable(change.Name), latency, printable(change.Caller))
	if change.Reason != "" {
		line += "  (" + printable(change.Reason) + ")"
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}

// contact follows whether the changes that are shown are all there are.
type contact struct {
	lost, refused bool
	gaps, resyncs int // as they were when there was contact
}

func newContact(st bus.KeySetStatus) *contact {
	return &contact{gaps: gaps(st), resyncs: st.Keys.Resyncs}
}

func gaps(st bus.KeySetStatus) int { return st.Keys.Gaps + st.Revocations.Gaps }

// look returns what is new, or nothing. refusal is why the server does not let us in again, if it does not.
func (c *contact) look(st bus.KeySetStatus, refusal error) string {
	err := st.Keys.Err
	if err == nil {
		err = st.Revocations.Err
	}
	switch down := err != nil || !st.Keys.CaughtUp || !st.Revocations.CaughtUp; {
	case down && refusal != nil && !c.refused:
		c.lost, c.refused = true, true
		return "NATS does not let us in again: " + oneLine(refusal)
	case down && c.lost:
		return ""
	case down && err != nil:
		c.lost = true
		return "lost contact with NATS: changes are shown when it is back (" + oneLine(err) + ")"
	case down:
		c.lost = true
		return "the bucket is being read again"
	case !c.lost && gaps(st) == c.gaps && st.Keys.Resyncs == c.resyncs:
		return ""
	}
	news := fmt.Sprintf("in contact with NATS again: complete up to revision %d", st.Keys.Revision)
	if st.Keys.Resyncs != c.resyncs {
		news += "; the bucket was read again from the beginning: of what changed meanwhile only the result was shown, not who did it"
	}
	*c = *newContact(st)
	return news
}

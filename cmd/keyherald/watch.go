package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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

func (c *watchCmd) Run(a *app) error {
	ctx, conn, done, err := c.connect(a, bus.Verifier)
	if err != nil {
		return err
	}
	defer done()
	keys := conn.FollowKeys(a.log)
	defer keys.Close()
	const backlog = 1 << 16 // changes that may wait while the terminal is slow
	changes := keys.Subscribe(backlog)
	defer changes.Close()
	if err := keys.Wait(ctx); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "watching from revision %d; stop with ctrl-c\n", keys.Keys().Revision())
	for {
		select {
		case change, ok := <-changes.C():
			if !ok {
				return errors.New("the output was too slow: changes were missed; see keyherald status for what is now")
			}
			if err := c.print(a, change, time.Now()); err != nil {
				return err
			}
		case <-a.ctx.Done():
			return nil
		}
	}
}

func (c *watchCmd) print(a *app, change events.Change, now time.Time) error {
	latency := float64(now.Sub(change.Time).Microseconds()) / 1000
	if c.JSON {
		return json.NewEncoder(a.out).Encode(changeLine{
			Time: change.Time.UTC(), Revision: change.Revision, Event: string(change.Event), Name: change.Name, LatencyMS: latency,
			Caller: change.Caller, Reason: change.Reason,
		})
	}
	line := fmt.Sprintf("%s  revision %d  %-15s  %s  after %.1f ms  by %s",
		change.Time.Format(time.TimeOnly), change.Revision, change.Event, printable(change.Name), latency, printable(change.Caller))
	if change.Reason != "" {
		line += "  (" + printable(change.Reason) + ")"
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}

// printable escapes what others wrote, so that it cannot steer a terminal.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

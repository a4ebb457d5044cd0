package eventstest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Replicas waits until the cluster is ready, and reads all messages of a bucket from the store of every node, each of which cannot reach the others
// meanwhile. That is too short for an election.
//
// A replica of nats-server 2.15 that has got everything again begins to answer reads when it hears who leads. If it heard that before its stream was
// made, it may not until there is another leader; clients do not notice, for another replica answers. So the leader is asked to step down, if
// that lasts.
func (c *Cluster) Replicas(b bus.Bucket) [][]events.Entry {
	c.t.Helper()
	c.WaitReady()
	conns, replicas, errs := make([]*bus.Conn, len(c.Nodes)), make([][]events.Entry, len(c.Nodes)), make([]error, len(c.Nodes))
	for i, n := range c.Nodes {
		conns[i] = c.ConnectAt(c.t, n.URL(), bus.Operator)
		defer conns[i].Close()
	}
	defer func() {
		if err := errors.Join(errs...); err != nil {
			c.t.Log(err)
		}
	}()
	const lasts, settling = 30 * time.Second, 5 * time.Second
	var calm time.Time // not to be cut before
	began, asked := time.Now(), false
	Eventually(c.t, "every node answers alone for "+string(b), func() bool {
		if time.Now().Before(calm) || !c.Ready() { // no more, after it was cut and mended
			return false
		}
		if !asked && time.Since(began) > lasts {
			_, err := c.Admin().JetStream().Conn().Request(stepDown+b.Stream(), nil, settling)
			c.t.Logf("the leader of %s was asked to step down (%v), because of %v", b, err, errors.Join(errs...))
			calm, asked = time.Now().Add(settling), true
			return false
		}
		c.Partition()
		defer c.Mend()
		var reading sync.WaitGroup
		for i, conn := range conns {
			reading.Go(func() { replicas[i], errs[i] = read(conn.JetStream().Conn(), b) })
		}
		reading.Wait()
		return errors.Join(errs...) == nil
	})
	return replicas
}

// stepDown is where a stream's leader is asked to be none any more.
const stepDown = "$JS.API.STREAM.LEADER.STEPDOWN."

// read gets all messages of a bucket from whichever replica the server asks: its own, if it has one.
func read(nc *nats.Conn, b bus.Bucket) (all []events.Entry, err error) {
	const patience = time.Second
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sub.Unsubscribe()) }()
	for next := uint64(1); ; {
		body := fmt.Appendf(nil, `{"seq":%d,"batch":1000,"next_by_subj":%q}`, next, b.Filter())
		if err := nc.PublishRequest("$JS.API.DIRECT.GET."+b.Stream(), inbox, body); err != nil {
			return nil, err
		}
		for asked := next; ; {
			m, err := sub.NextMsg(patience)
			if err != nil {
				return nil, err
			}
			switch m.Header.Get("Status") {
			case "204": // the end of the batch
				switch {
				case m.Header.Get("Nats-Num-Pending") == "0":
					return all, nil
				case next == asked:
					return nil, fmt.Errorf("direct get: %s messages are there from %d on, and none comes", m.Header.Get("Nats-Num-Pending"), next)
				}
			case "404":
				return all, nil
			case "":
				e, err := stored(m, b)
				if err != nil {
					return nil, err
				}
				all, next = append(all, e), e.Revision+1
				continue
			default:
				return nil, fmt.Errorf("direct get: %s %s", m.Header.Get("Status"), m.Header.Get("Description"))
			}
			break
		}
	}
}

// stored is a message as a direct get brings it.
func stored(m *nats.Msg, b bus.Bucket) (events.Entry, error) {
	revision, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return events.Entry{}, fmt.Errorf("direct get: %w", err)
	}
	written, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	return events.Entry{
		Name: m.Header.Get("Nats-Subject")[len(b.Subject("")):], Value: m.Data, Revision: revision, Time: written,
		Deleted: m.Header.Get("KV-Operation") == "DEL",
	}, err
}

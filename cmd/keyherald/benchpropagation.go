package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// propagation measures how long changes take to get to key sets.
type propagation struct {
	*app
	connect   func(context.Context, bus.Role) (*bus.Conn, error)
	server    string // to be told
	verifiers int
	interval  time.Duration
	patience  time.Duration // for connecting, for one change, and for cleaning up
}

// propagationTimes are counted from right before the write of a change.
type propagationTimes struct {
	acknowledged timings // for each change
	applied      timings // for each change and verifier
	everywhere   timings // for each change: the last verifier
}

// atATime is how many verifiers connect together: a server that is new to all of them should not have to turn any away.
const atATime = 32

func (b *propagation) measure(ctx context.Context, changes int) (times *propagationTimes, err error) {
	start, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	client := &benchClient{propagation: b, name: events.Name("bench-" + strings.ToLower(rand.Text()[:12]))}
	defer func() {
		if left := client.remove(ctx); left != nil {
			times, err = nil, errors.Join(err, left)
		}
	}()
	if err := client.register(start, changes); err != nil {
		return nil, err
	}
	o := newObservers(b.verifiers, client.record().String())
	defer o.close()
	connecting := newProgress(b.app, "connecting verifiers", b.verifiers)
	err = parallel(start, atATime, b.verifiers, func(ctx context.Context, i int) error {
		defer connecting.add(1)
		conn, err := b.connect(ctx, bus.Verifier)
		if errors.Is(err, bus.ErrUnreachable) { // a server that has enough does not always get to say so
			err = &hinted{err, "the server was there for those before: use fewer verifiers, or raise its limit of connections (max_connections)"}
		}
		if err != nil {
			return fmt.Errorf("verifier %d: %w", i+1, err)
		}
		if err := o.observe(ctx, i, conn, b.app); err != nil {
			return fmt.Errorf("verifier %d: %w", i+1, err)
		}
		return nil
	})
	connecting.end()
	if err != nil {
		return nil, err
	}
	changing := newProgress(b.app, "changing the key", changes)
	defer changing.end()
	times = new(propagationTimes)
	for range changes {
		if err := b.change(ctx, client, o, times); err != nil {
			return nil, err
		}
		changing.add(1)
	}
	return times, nil
}

// change writes one change, waits until everybody has it, and pauses.
func (b *propagation) change(ctx context.Context, client *benchClient, o *observers, times *propagationTimes) error {
	patient, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	value, err := newKeyRecord()
	if err != nil {
		return err
	}
	began := time.Now()
	revision, err := client.put(patient, value)
	if err != nil {
		return err
	}
	times.acknowledged = append(times.acknowledged, time.Since(began))
	slowest := time.Duration(0)
	for missing := b.verifiers; missing > 0; {
		select {
		case s := <-o.sightings:
			if s.revision == 0 {
				return errors.New("the key set of a verifier was closed, or too slow for what else is changed on the server")
			}
			if s.revision != revision {
				continue
			}
			took := s.at.Sub(began)
			times.applied = append(times.applied, took)
			slowest = max(slowest, took)
			missing--
		case <-patient.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%d of %s did not get revision %d within %s: are they still connected?", missing, count(b.verifiers, "verifier"), revision, b.patience)
		}
	}
	times.everywhere = append(times.everywhere, slowest)
	select {
	case <-time.After(b.interval):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sighting is when one of the observers had a revision of the record; zero: it sees nothing any more.
type sighting struct {
	revision uint64
	at       time.Time
}

// observers are key sets, each on a connection of its own, that tell when they have changes of one record.
type observers struct {
	record    string
	sightings chan sighting
	conns     []*bus.Conn
	sets      []*bus.KeySet
	done      chan struct{}
	readers   sync.WaitGroup
}

func newObservers(n int, record string) *observers {
	return &observers{
		record: record, sightings: make(chan sighting, 2*n), conns: make([]*bus.Conn, n), sets: make([]*bus.KeySet, n), done: make(chan struct{}),
	}
}

// changesWaiting is how many changes of anything on the server may wait to be looked at.
const changesWaiting = 4096

// observe returns when the key set is complete.
func (o *observers) observe(ctx context.Context, i int, conn *bus.Conn, a *app) error {
	o.conns[i], o.sets[i] = conn, conn.FollowKeys(a.log)
	if err := waitComplete(ctx, o.sets[i]); err != nil {
		return err
	}
	changes := o.sets[i].Subscribe(changesWaiting)
	o.readers.Go(func() {
		for {
			var s sighting
			if change, ok := <-changes.C(); ok {
				s = sighting{change.Revision, time.Now()}
				if change.Name != o.record {
					continue
				}
			}
			select {
			case o.sightings <- s:
			case <-o.done:
			}
			if s.revision == 0 {
				return
			}
		}
	})
	return nil
}

// waitComplete waits for a key set, and not for what does not go away by waiting.
func waitComplete(ctx context.Context, keys *bus.KeySet) error {
	const look = 200 * time.Millisecond
	for {
		short, cancel := context.WithTimeout(ctx, look)
		err := keys.Wait(short)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		status := keys.Status()
		for _, err := range []error{status.Keys.Err, status.Revocations.Err} {
			if errors.Is(err, bus.ErrTooManyConsumers) || errors.Is(err, bus.ErrPermission) || errors.Is(err, bus.ErrNoBucket) {
				return err
			}
		}
	}
}

func (o *observers) close() {
	close(o.done)
	_ = parallel(context.Background(), atATime, len(o.sets), func(_ context.Context, i int) error {
		if o.sets[i] != nil {
			o.sets[i].Close()
		}
		if o.conns[i] != nil {
			o.conns[i].Close()
		}
		return nil
	})
	o.readers.Wait()
}

// benchClient is the temporary client whose key is changed. It may do nothing, and nobody has its private keys.
type benchClient struct {
	*propagation
	name     events.Name
	conn     *bus.Conn
	keys     *bus.KeySet
	registry *registry.Registry
	revision uint64 // of the key's record
}

func (c *benchClient) record() events.RecordName { return events.KeyRecord(c.name, benchKid) }

// register says what is going to be written, to whoever may not have meant this server, and writes the first of it.
func (c *benchClient) register(ctx context.Context, changes int) (err error) {
	if c.conn, err = c.connect(ctx, bus.Operator); err != nil {
		return err
	}
	c.keys = c.conn.FollowKeys(c.log)
	if err := waitComplete(ctx, c.keys); err != nil {
		return err
	}
	if c.registry, err = registry.New(registry.Config{Store: c.conn, Keys: c.keys, Logger: c.log}); err != nil {
		return err
	}
	fmt.Fprintf(c.err, "keyherald: on %s: registering the client %s, to change its key %s, and at the end to remove the key and disable the client\n",
		c.server, c.name, count(changes, "time"))
	if _, err = c.registry.CreateClient(ctx, c.caller, c.name, registry.ClientSpec{}); err != nil {
		return err
	}
	value, err := newKeyRecord()
	if err != nil {
		return err
	}
	_, err = c.put(ctx, value)
	return err
}

// newKeyRecord is a key of which nobody has the private half.
func newKeyRecord() ([]byte, error) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return (&events.Key{Algorithm: events.EdDSA, Public: public, IssuedAt: time.Now().Unix()}).Encode(benchKid)
}

func (c *benchClient) put(ctx context.Context, value []byte) (uint64, error) {
	revision, err := c.conn.Put(ctx, bus.Put{Bucket: bus.Keys, Name: c.record().String(), Value: value, Replaces: c.revision, Caller: c.caller.Name})
	if err == nil {
		c.revision = revision
	}
	return revision, err
}

// remove leaves a client without a key that is disabled, whatever has been written so far and whether ctx has ended or not.
func (c *benchClient) remove(ctx context.Context) error {
	if c.conn == nil {
		return nil
	}
	defer c.conn.Close()
	if c.keys != nil {
		defer c.keys.Close()
	}
	if c.registry == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.patience)
	defer cancel()
	_, err := c.conn.Update(ctx, bus.Keys, c.record().String(), c.caller.Name, func(last events.Entry) (bus.Decision, error) {
		return bus.Decision{Delete: last.Revision != 0 && !last.Deleted}, nil
	})
	if _, disabling := c.registry.DisableClient(ctx, c.caller, c.name); !errors.Is(disabling, registry.ErrNotFound) {
		err = errors.Join(err, disabling)
	}
	if err != nil {
		return &hinted{fmt.Errorf("the client %s is left over: %w", c.name, err), fmt.Sprintf("keyherald client disable %s", c.name)}
	}
	return nil
}

package bus

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events"
)

// unknownKeyPrefix and an issuer's name make the subject on which somebody says that the issuer uses a kid that KEYS does not have.
const unknownKeyPrefix = "keyherald.unknown-key."

const (
	// unknownKeyBacklog is how many such messages may wait for who listens; more are dropped. A kid is at most
	// events.MaxForeignKeyID bytes.
	unknownKeyBacklog = 1024
	// reportSlots is how many issuers' reports can wait to be sent in a [KeySet].
	reportSlots = 16
	// reportLook is how often a KeySet looks whether there is something to report: the most that a report waits, if
	// its slot has not been used within reportEvery.
	reportLook  = 200 * time.Millisecond
	reportEvery = time.Second
)

// ReportUnknownKey says that tokens of an external issuer come with a kid that is not known, so that whoever refreshes its keys
// may look for it. An empty kid asks for a refresh whatever is known. It is a hint: nobody may hear it, and nothing tells.
func (c *Conn) ReportUnknownKey(issuer events.Name, kid events.KeyID) error {
	if err := checkReport(issuer, kid); err != nil {
		return err
	}
	if err := c.nc.Publish(unknownKeyPrefix+string(issuer), []byte(kid)); err != nil {
		return fmt.Errorf("reporting an unknown key: %w", translate(err))
	}
	return nil
}

func checkReport(issuer events.Name, kid events.KeyID) error {
	if _, err := events.ParseName(string(issuer)); err != nil {
		return err
	}
	if kid == "" {
		return nil
	}
	_, err := events.ParseKeyID(string(kid))
	return err
}

// OnUnknownKey calls heard for what others report, one report after the other, until stop is called, which returns
// when heard will not be called any more. Anybody may report anything: all that is sure is that issuer is a name, and that kid is
// empty or could be a kid. heard must not block for long: when too many wait, reports are lost.
func (c *Conn) OnUnknownKey(heard func(issuer events.Name, kid events.KeyID)) (stop func(), err error) {
	done := make(chan struct{})
	sub, err := c.nc.Subscribe(unknownKeySubjects, func(m *nats.Msg) {
		issuer, kid := events.Name(strings.TrimPrefix(m.Subject, unknownKeyPrefix)), events.KeyID(m.Data)
		if checkReport(issuer, kid) == nil {
			heard(issuer, kid)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listening for unknown keys: %w", translate(err))
	}
	var closed sync.Once
	sub.SetClosedHandler(func(string) { closed.Do(func() { close(done) }) })
	if !sub.IsValid() { // closed with the connection, perhaps before there was a handler
		return nil, fmt.Errorf("listening for unknown keys: %w", translate(errClosed))
	}
	_ = sub.SetPendingLimits(unknownKeyBacklog, unknownKeyBacklog*events.MaxForeignKeyID) // fails as IsValid does
	return func() {
		_ = sub.Unsubscribe() // fails only when the connection is closed, and the subscription with it
		<-done
	}, nil
}

// unknownKey is a report that waits to be sent.
type unknownKey struct {
	issuer events.Name
	kid    events.KeyID
}

// reporter sends the reports of a key set: at most one for each slot and second, whatever comes. To hand one in takes a few
// loads, and a compare-and-swap if none of that issuer waits: it is called for tokens that anybody may send.
type reporter struct {
	send    func(events.Name, events.KeyID) error
	seed    maphash.Seed
	slots   [reportSlots]atomic.Pointer[unknownKey]
	closing sync.Once
	stop    chan struct{}
	running sync.WaitGroup
}

func newReporter(send func(events.Name, events.KeyID) error) *reporter {
	r := &reporter{send: send, seed: maphash.MakeSeed(), stop: make(chan struct{})}
	r.running.Go(r.run)
	return r
}

func (r *reporter) report(issuer events.Name, kid events.KeyID) {
	home := maphash.String(r.seed, string(issuer))
	for i := range uint64(reportSlots) {
		slot := &r.slots[(home+i)%reportSlots]
		waiting := slot.Load()
		if waiting == nil { // the kid must not keep the token alive that it is a part of
			slot.CompareAndSwap(nil, &unknownKey{issuer, events.KeyID(strings.Clone(string(kid)))})
			return
		}
		if waiting.issuer == issuer {
			return // one report of an issuer is as good as another: all its keys are looked up
		}
	}
}

func (r *reporter) run() {
	tick := time.NewTicker(reportLook)
	defer tick.Stop()
	var sent [reportSlots]time.Time
	for {
		select {
		case now := <-tick.C:
			for i := range r.slots {
				if r.slots[i].Load() == nil || now.Sub(sent[i]) < reportEvery {
					continue
				}
				u := r.slots[i].Swap(nil)
				sent[i] = now
				_ = r.send(u.issuer, u.kid) // a hint: the next token with the kid brings it again
			}
		case <-r.stop:
			return
		}
	}
}

// close returns when nothing runs any more.
func (r *reporter) close() {
	r.closing.Do(func() { close(r.stop) })
	r.running.Wait()
}

// ReportUnknownKey hands in that a token of an external issuer came with a kid that is not in the set. It is sent within a second
// or so, and at most one such report for each issuer and second; the others are forgotten. It takes no lock and does not wait. A
// set that does not follow a server ([NewKeySet]) has nobody to tell.
func (k *KeySet) ReportUnknownKey(issuer events.Name, kid events.KeyID) {
	if k.reports != nil {
		k.reports.report(issuer, kid)
	}
}

package refresh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

// provider is one external issuer with a jwks_uri.
type provider struct {
	schedule
	name     events.Name
	uri      string
	revision uint64 // of the issuer's record
	running  bool
	etag     string // of last
	last     *JWKS  // the last good set
	budget   budget
	status   IssuerStatus
}

func newProvider(e *events.IssuerEntry, now time.Time) *provider {
	return &provider{
		schedule: newSchedule(now), name: e.Name, uri: e.Record.JWKSURI, revision: e.Revision,
		budget: newBudget(),
		status: IssuerStatus{Issuer: e.Name, JWKSURI: e.Record.JWKSURI, Next: now},
	}
}

// job is one refresh of a provider: a copy of what it needs, since it runs beside the worker.
type job struct {
	provider *provider // for the worker
	uri      string
	etag     string
	last     *JWKS
	asked    map[events.KeyID]bool
	budget   budget // comes back with the result
	issuer   events.Name
}

// result is what came of it.
type result struct {
	job
	set  *JWKS // nil after an error
	doc  document
	did  registry.KeySync
	when time.Time
	err  error

	saved bool // this is the end: the state was left, or could not be
}

// refresh fetches a provider's keys and publishes them.
func (w *worker) refresh(ctx context.Context, j job) result {
	w.counters.fetches.Add(1)
	res, asked := result{job: j}, present()
	if res.err = res.budget.load(ctx, w.cfg.Store, j.issuer); res.err == nil {
		res.doc, res.err = w.fetch(ctx, j.uri, j.etag)
	}
	if res.err == nil {
		res.set, res.err = w.read(&res.job, res.doc)
	}
	if res.err == nil {
		publish, cancel := context.WithTimeout(ctx, publishTimeout)
		res.did, res.err = w.cfg.Registry.SyncKeys(publish, w.cfg.Caller, j.issuer, registry.Published{
			Source: j.uri, Keys: res.set.Keys, Current: func(ctx context.Context) error { return w.lease.covers(ctx, asked) },
		})
		cancel()
	}
	res.when = time.Now()
	res.budget.spend(res.when, res.did, res.err)
	return res
}

// read returns the set of a document.
func (w *worker) read(j *job, doc document) (*JWKS, error) {
	set := j.last
	if doc.unchanged {
		w.counters.unchanged.Add(1)
	} else {
		var err error
		if set, err = ReadJWKS(doc.body, time.Now()); err != nil {
			return nil, fmt.Errorf("keys at %s: %w", j.uri, err)
		}
	}
	if set == nil {
		return nil, errors.New("the provider says that nothing has changed, and there was nothing before")
	}
	if n := registry.NewKeys(w.cfg.Keys.Keys(), j.issuer, set.Keys); n > j.budget.room(time.Now()) {
		return nil, fmt.Errorf("keys at %s: %d new ones, or other ones under known kids, and of an issuer at most %d in %s are registered",
			j.uri, n, maxNewKeys, newKeysPer)
	}
	return set, nil
}

// finished takes note of a result, and leaves it for others to read.
func (w *worker) finished(ctx context.Context, res result) {
	p, now := res.provider, res.when
	if res.saved || w.providers[p.name] != p { // disabled, or moved elsewhere meanwhile
		p.running = false
		w.running--
		return
	}
	p.budget = res.budget
	if res.err != nil {
		w.counters.failures.Add(1)
		p.failure(now)
		p.status.LastFailure, p.status.LastError, p.status.Next = now, res.err.Error(), p.next
		w.cfg.Logger.Warn().Str("issuer", string(p.name)).Str("jwks_uri", p.uri).Err(res.err).Int("failures", p.failed).Time("next", p.next).
			Msg("keys were not refreshed: those that are known stay")
	} else {
		w.succeeded(p, &res)
	}
	w.setStatus(p.status)
	state := p.status.state()
	state.Spent = p.budget.spentUntil(now)
	w.fetching.Go(func() {
		saving, cancel := context.WithTimeout(ctx, stateTimeout)
		defer cancel()
		if err := writeState(saving, w.cfg.Store, w.cfg.Caller.Name, p.name, state); err != nil {
			w.cfg.Logger.Debug().Err(err).Str("issuer", string(p.name)).Msg("leaving the state of key refresh")
		}
		w.deliver(ctx, result{job: res.job, saved: true})
	})
}

// state is what others read of a status.
func (s *IssuerStatus) state() State {
	seconds := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.Unix()
	}
	return State{Success: seconds(s.LastSuccess), Failure: seconds(s.LastFailure), Error: s.LastError, Next: seconds(s.Next), Keys: s.Keys}
}

func (w *worker) succeeded(p *provider, res *result) {
	p.etag, p.last = res.doc.etag, res.set
	p.schedule.succeeded(res.when, res.asked, func(kid events.KeyID) bool {
		return slices.ContainsFunc(res.set.Keys, func(key registry.ProviderKey) bool { return key.KeyID == kid })
	}, res.doc.life)
	w.counters.added.Add(uint64(len(res.did.Added)))
	w.counters.changed.Add(uint64(len(res.did.Changed)))
	w.counters.removed.Add(uint64(len(res.did.Removed)))
	log := w.cfg.Logger.With().Str("issuer", string(p.name)).Str("jwks_uri", p.uri).Logger()
	if !slices.Equal(p.status.Faults, res.set.Faults) { // not each time
		for _, f := range res.set.Faults {
			line := log.Warn().Int("index", f.Index).Str("kid", string(f.KeyID)).Str("reason", f.Reason)
			if f.Secret {
				w.counters.alarms.Add(1)
				line = line.Bool("alarm", true)
			}
			line.Msg("a key of an external issuer is not used")
		}
	}
	for _, kid := range res.did.Kept {
		log.Warn().Str("kid", string(kid)).Msg("an external issuer publishes another key than the one that was registered by hand, which stays")
	}
	line := log.Debug()
	if len(res.did.Added)+len(res.did.Changed)+len(res.did.Removed) > 0 {
		line = log.Info()
	}
	line.Int("keys", len(res.set.Keys)).Int("ignored", res.set.Ignored).Int("added", len(res.did.Added)).Int("changed", len(res.did.Changed)).
		Int("removed", len(res.did.Removed)).Bool("unchanged", res.doc.unchanged).Time("next", p.next).Msg("keys refreshed")
	p.status.LastSuccess, p.status.LastError, p.status.Next = res.when, "", p.next
	p.status.Keys, p.status.Faults = len(res.set.Keys), res.set.Faults
}

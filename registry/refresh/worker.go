package refresh

import (
	"context"
	"sync"
	"time"

	"github.com/keyherald/keyherald/events"
)

// report is what somebody says of an issuer: a kid that is not known, or nothing but that its keys should be fetched.
type report struct {
	issuer events.Name
	kid    events.KeyID
}

// worker refreshes while the node has the lease. Its maps are those of the goroutine of run.
type worker struct {
	*Refresher
	lease     *lease
	providers map[events.Name]*provider
	reports   chan report
	results   chan result
	running   int // fetches
	fetching  sync.WaitGroup
}

func newWorker(r *Refresher, l *lease) *worker {
	return &worker{Refresher: r, lease: l, providers: map[events.Name]*provider{}, reports: make(chan report, reportBacklog), results: make(chan result)}
}

// run returns when ctx is done and nothing runs any more.
func (w *worker) run(ctx context.Context) {
	if w.cfg.Reports != nil {
		stop, err := w.cfg.Reports(w.hear)
		if err != nil {
			w.cfg.Logger.Warn().Err(err).Msg("unknown kids cannot be heard of: keys are fetched on schedule only")
		} else {
			defer stop()
		}
	}
	for ctx.Err() == nil {
		w.follow(ctx)
	}
	w.fetching.Wait()
}

// hear takes a report, from another goroutine.
func (w *worker) hear(issuer events.Name, kid events.KeyID) {
	w.counters.reports.Add(1)
	select {
	case w.reports <- report{issuer, kid}:
	default:
		w.counters.dropped.Add(1)
	}
}

// follow looks at all issuers, and then at what happens, until ctx is done or changes were lost.
func (w *worker) follow(ctx context.Context) {
	changes := w.cfg.Keys.Subscribe(changeBacklog)
	defer changes.Close()
	for name := range w.providers { // those that are gone are not listed
		w.look(name)
	}
	for e := range w.cfg.Keys.Keys().Issuers() {
		w.look(e.Name)
	}
	for {
		timer := time.NewTimer(w.start(ctx))
		select {
		case c, ok := <-changes.C():
			if !ok && !changes.Slow() { // the set was closed: nothing happens any more
				<-ctx.Done()
			}
			if !ok {
				timer.Stop()
				return
			}
			w.changed(c)
		case r := <-w.reports:
			w.reported(r)
		case done := <-w.results:
			w.finished(ctx, done)
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// changed looks at an issuer whose record has changed.
func (w *worker) changed(c events.Change) {
	name, err := events.ParseRecordName(c.Name)
	if err != nil || name.Kind != events.KindIssuer {
		return
	}
	w.look(name.Issuer)
}

// look begins or ends to refresh an issuer, as its record says.
func (w *worker) look(name events.Name) {
	e, p := w.cfg.Keys.Keys().Issuer(name), w.providers[name]
	wanted := e != nil && e.Record.Type == events.TypeExternal && e.Record.Status == events.Active && e.Record.JWKSURI != ""
	switch {
	case !wanted && p != nil:
		delete(w.providers, name)
		w.dropStatus(name)
	case wanted && (p == nil || p.uri != e.Record.JWKSURI):
		next := newProvider(e, time.Now())
		if p != nil {
			next.budget = p.budget // it is the issuer's, wherever its keys are
		}
		w.providers[name], p = next, next
		w.setStatus(p.status)
	case wanted && p.revision != e.Revision:
		p.revision, p.forced = e.Revision, true // whoever changes a record wants to see what comes of it
	}
}

// reported takes note of a report, unless there is nothing to find out.
func (w *worker) reported(r report) {
	p := w.providers[r.issuer]
	if p == nil {
		return
	}
	if r.kid == "" {
		p.forced = true
		return
	}
	if known := w.cfg.Keys.Keys().Key(r.issuer, r.kid); known != nil && (known.Record != nil || known.RevokedBy != 0) {
		return
	}
	p.want(r.kid, time.Now())
}

// start begins what is due, and returns for how long nothing else is.
func (w *worker) start(ctx context.Context) time.Duration {
	now, wait := time.Now(), time.Hour
	for _, p := range w.providers {
		if p.running || w.running >= maxFetches {
			continue // a result will wake us
		}
		if left := p.due().Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		asked, outOfTurn := p.begin(now)
		if outOfTurn {
			w.counters.outOfTurn.Add(1)
		}
		p.running = true
		w.running++
		job := job{provider: p, uri: p.uri, etag: p.etag, last: p.last, asked: asked, budget: p.budget, issuer: p.name}
		w.fetching.Go(func() { w.deliver(ctx, w.refresh(ctx, job)) })
	}
	return wait
}

// deliver hands a result to the worker, if that is still there.
func (w *worker) deliver(ctx context.Context, res result) {
	select {
	case w.results <- res:
	case <-ctx.Done():
	}
}

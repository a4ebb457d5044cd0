package bus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
)

// KeySet is a live copy of KEYS and REVOCATIONS: what it takes to judge any token without asking anybody. Its
// readers take no lock.
type KeySet struct {
	keys        atomic.Pointer[events.Set]
	revocations *events.Revocations
	keysFeed    *Feed
	revFeed     *Feed
	begun       time.Time     // when what it began with was confirmed; zero: never, or it began with nothing
	issuers     []events.Name // those that are kept; none: all
	wanted      followed      // the same
	changes     broadcaster
	log         zerolog.Logger
	reports     *reporter // nil: there is no server to tell
}

// KeySetConfig says how to follow. The zero value is to begin with nothing, and to say nothing.
type KeySetConfig struct {
	// Begin is what readers see until the buckets have been read: it is as good as when it was confirmed. The buckets are read from the
	// beginning all the same, and nothing of it is left then but the revocations, which count as seen. Nil: empty sets.
	Begin *events.Snapshot
	// Issuers are those whose records are kept, with the platform's. What is about others is read and left out. Nil: those of all.
	Issuers []events.Name
	// Logger gets what happens to the feeds. The zero Logger is silent.
	Logger zerolog.Logger
}

// KeySetStatus is the state of a key set's two feeds.
type KeySetStatus struct {
	Keys, Revocations FeedStatus
}

// FollowKeys starts to follow KEYS and REVOCATIONS. The set is empty until it has caught up: see [KeySet.Wait].
func (c *Conn) FollowKeys(log zerolog.Logger) *KeySet {
	return c.FollowKeySet(KeySetConfig{Logger: log})
}

// FollowKeySet is FollowKeys with more to say about it.
func (c *Conn) FollowKeySet(cfg KeySetConfig) *KeySet {
	k := newKeySet(&stream{c, Keys, follows(cfg.Issuers)}, c.Source(Revocations), cfg, rand.N)
	k.reports = newReporter(c.ReportUnknownKey)
	return k
}

// NewKeySet follows the two buckets from any sources.
func NewKeySet(keys, revocations Source, log zerolog.Logger) *KeySet {
	return newKeySet(keys, revocations, KeySetConfig{Logger: log}, rand.N)
}

func newKeySet(keys, revocations Source, cfg KeySetConfig, random jitter) *KeySet {
	log := cfg.Logger
	k := &KeySet{log: log, issuers: cfg.Issuers, wanted: follows(cfg.Issuers)}
	k.keys.Store(events.NewSet(nil))
	k.revocations = events.NewRevocations(k.tell)
	if b := cfg.Begin; b != nil {
		k.begun = b.Confirmed
		k.keys.Store(b.Keys)
		k.revocations.Keep(b.Revocations)
	}
	k.keysFeed = newFeed(keys, &keyFollower{set: k}, log.With().Str("bucket", string(Keys)).Logger(), random)
	k.revFeed = newFeed(revocations, &revocationFollower{k.revocations}, log.With().Str("bucket", string(Revocations)).Logger(), random)
	return k
}

// Close stops following and returns when nothing of it runs any more. The sets stay readable.
func (k *KeySet) Close() {
	k.keysFeed.Close()
	k.revFeed.Close()
	k.changes.close()
	if k.reports != nil {
		k.reports.close()
	}
}

// Keys returns the key set of now. A later call may return another one: hold on to it only for one decision.
func (k *KeySet) Keys() *events.Set { return k.keys.Load() }

// Revocations returns the set of revoked tokens.
func (k *KeySet) Revocations() *events.Revocations { return k.revocations }

// Confirmed is when both sets were last known to be complete; zero: never.
func (k *KeySet) Confirmed() time.Time {
	a, b := k.keysFeed.Confirmed(), k.revFeed.Confirmed()
	if b.Before(a) {
		a = b
	}
	if a.IsZero() {
		return k.begun // one of them is still what it began with
	}
	return a
}

// Snapshot is what there is to keep of the set for a later [KeySetConfig.Begin]: it is complete as of Confirmed, and goes on changing.
func (k *KeySet) Snapshot() *events.Snapshot {
	s := &events.Snapshot{Confirmed: k.Confirmed(), Issuers: k.issuers} // read before the sets: what they lack is not confirmed
	s.Keys, s.Revocations = k.Keys(), k.revocations
	return s
}

// Status tells how the feeds are doing.
func (k *KeySet) Status() KeySetStatus {
	return KeySetStatus{Keys: k.keysFeed.Status(), Revocations: k.revFeed.Status()}
}

// Missing is how many messages of both buckets the server says are there, and does not deliver: its files are damaged.
func (k *KeySet) Missing() uint64 { return k.keysFeed.Status().Missing + k.revFeed.Status().Missing }

// Wait returns when the sets have caught up with their buckets, or with the reason why they have not when ctx ends.
func (k *KeySet) Wait(ctx context.Context) error {
	for _, f := range []*Feed{k.keysFeed, k.revFeed} {
		if err := f.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Wait returns when the feed has caught up, or with the reason why it has not when ctx ends.
func (f *Feed) Wait(ctx context.Context) error {
	select {
	case <-f.caughtUp:
		return nil
	case <-ctx.Done():
		if err := f.Status().Err; err != nil {
			return fmt.Errorf("catching up: %w: %w", ctx.Err(), err)
		}
		return fmt.Errorf("catching up: %w", ctx.Err())
	}
}

// Subscribe returns a subscription to the changes from now on, of which up to backlog may wait to be read.
func (k *KeySet) Subscribe(backlog int) *Subscription { return k.changes.subscribe(backlog) }

func (k *KeySet) tell(c events.Change) {
	if c.Event == events.RecordRejected {
		k.log.Warn().Str("name", c.Name).Uint64("revision", c.Revision).Str("caller", c.Caller).Str("reason", c.Reason).Msg("record rejected")
	}
	k.changes.send(c)
}

// keyFollower folds KEYS.
type keyFollower struct {
	set      *KeySet
	fresh    *events.Set // while it is being filled
	complete bool        // a set has been committed: what the next one changes is news
}

func (f *keyFollower) Restart() {
	committed := func(c events.Change) {
		if f.fresh == nil {
			f.set.tell(c)
		}
	}
	f.fresh = events.NewSet(committed)
}

func (f *keyFollower) Apply(e events.Entry) {
	set := f.fresh
	if set == nil {
		set = f.set.keys.Load()
	}
	if f.set.wanted.has(e.Name) {
		set.Apply(e)
	} else {
		set.LeaveOut(e)
	}
}

func (f *keyFollower) Commit() {
	k, fresh := f.set, f.fresh
	old := k.keys.Load()
	if lost := fresh.KeepRevocations(old); len(lost) > 0 {
		k.log.Warn().Strs("names", lost).Msg("the bucket has lost key revocations that were seen: they stay in force here; write them again")
	}
	if n := len(fresh.Rejected()); n > 0 {
		k.log.Warn().Int("records", n).Msg("malformed records: see keyherald status")
	}
	k.keys.Store(fresh)
	f.fresh = nil
	if f.complete && k.changes.any() {
		events.Diff(old, fresh, k.tell)
	}
	f.complete = true
}

// revocationFollower folds REVOCATIONS, which only grow: reading them again adds to what is there.
type revocationFollower struct{ set *events.Revocations }

func (f *revocationFollower) Restart()             {}
func (f *revocationFollower) Apply(e events.Entry) { f.set.Apply(e, time.Now()) }
func (f *revocationFollower) Commit()              {}

// ClientSet is a live copy of CLIENTS.
type ClientSet struct {
	*Feed
	clients atomic.Pointer[events.Clients]
}

// FollowClients starts to follow CLIENTS. The set is empty until it has caught up: see [Feed.Wait].
func (c *Conn) FollowClients(log zerolog.Logger) *ClientSet {
	s := new(ClientSet)
	s.clients.Store(events.NewClients())
	s.Feed = c.Follow(Clients, &clientFollower{set: s}, log)
	return s
}

// Client returns the record of a client, or nil.
func (s *ClientSet) Client(name events.Name) *events.Client { return s.clients.Load().Client(name) }

// Clients returns the fold of now.
func (s *ClientSet) Clients() *events.Clients { return s.clients.Load() }

// clientFollower folds CLIENTS.
type clientFollower struct {
	set   *ClientSet
	fresh *events.Clients
}

func (f *clientFollower) Restart() { f.fresh = events.NewClients() }

func (f *clientFollower) Apply(e events.Entry) {
	if f.fresh != nil {
		f.fresh.Apply(e)
		return
	}
	f.set.clients.Load().Apply(e)
}

func (f *clientFollower) Commit() {
	f.set.clients.Store(f.fresh)
	f.fresh = nil
}

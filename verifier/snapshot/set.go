package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Config says which file, and what it is good for.
type Config struct {
	// Path of the file. Required.
	Path string
	// Issuers are those whose records are followed; see [bus.KeySetConfig]. They are in order, none twice.
	Issuers []events.Name
	// Bus is how to reach NATS. It is always tried until the context ends, whatever Wait says.
	Bus bus.Config
	// Now is the clock by which the file is as old as it is. Nil: time.Now.
	Now func() time.Time
	// Leeway is how far ahead of the clock a confirmation may be: clocks of machines differ. Zero: not at all.
	Leeway time.Duration
	// MinAge is how old at least the set from a file counts as. Zero: as old as it is.
	MinAge time.Duration
	// Logger gets what happens to the feed and the file. The zero Logger is silent.
	Logger zerolog.Logger
}

const (
	// grace is how long NATS is given to be there, and to deliver everything, before the file is good enough.
	grace = 2 * time.Second
	// redial is the wait after NATS has refused, rather than not been there.
	redial = 5 * time.Second
)

// Set is a live key set whose last complete state is in a file. Its readers take no lock.
type Set struct {
	cfg    Config
	begin  *events.Snapshot           // what readers see while there is no connection
	stored time.Time                  // when begin was confirmed, as the file says; zero: it is not good to start from
	live   atomic.Pointer[bus.KeySet] // nil: there was no connection yet
	keeper keeper
	cancel context.CancelFunc
	failed chan error    // why NATS cannot be used, to whoever waits for it
	ready  chan struct{} // closed when the set is that of the buckets
	done   chan struct{}
}

// Follow returns a set that is complete: up to date, if NATS is there within two seconds, else as the file has it. Without a file that can
// be used it waits for NATS until ctx ends. The set is then kept up to date until it is closed, whatever becomes of ctx.
func Follow(ctx context.Context, cfg Config) (*Set, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Bus.Wait = true
	s := &Set{
		cfg: cfg, keeper: keeper{file: file{cfg.Path}, log: cfg.Logger.With().Str("snapshot", cfg.Path).Logger()},
		failed: make(chan error, 1), ready: make(chan struct{}), done: make(chan struct{}),
	}
	var conn *bus.Conn
	usable := s.load()
	if !usable {
		var err error
		if conn, err = bus.Connect(ctx, cfg.Bus); err != nil {
			return nil, err
		}
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go s.run(running, conn)
	if err := s.await(ctx, usable); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// await returns when the set can be used.
func (s *Set) await(ctx context.Context, usable bool) error {
	var enough <-chan time.Time
	if usable {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-s.ready:
		return nil
	case err := <-s.failed:
		return err
	case <-enough:
	case <-ctx.Done():
		if k := s.live.Load(); !usable && k != nil {
			return k.Wait(ctx)
		}
		if !usable || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return ctx.Err()
		}
	}
	s.keeper.log.Warn().Uint64("revision", s.begin.Keys.Revision()).Time("confirmed", s.begin.Confirmed).
		Msg("nats is not there, or has not delivered everything yet: starting from the snapshot")
	return nil
}

// load reads the file. It reports whether what it holds is enough to start with.
func (s *Set) load() bool {
	s.begin = &events.Snapshot{Keys: events.NewSet(nil), Revocations: events.NewRevocations(nil)}
	if err := s.keeper.file.clean(time.Now()); err != nil {
		s.keeper.log.Debug().Err(err).Msg("looking for leftovers")
	}
	snapshot, digest, err := s.keeper.file.read()
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		s.keeper.log.Warn().Err(err).Msg("the snapshot cannot be used: it will be replaced")
		return false
	}
	if !slices.Equal(snapshot.Issuers, s.cfg.Issuers) {
		s.keeper.log.Warn().Msg("the snapshot is that of other issuers: only what it has of revoked keys and tokens is used")
		s.begin.Keys, s.begin.Revocations = snapshot.Keys.OnlyRevoked(s.follows), snapshot.Revocations
		return false
	}
	s.keeper.wrote(versionOf(snapshot), digest, snapshot.Confirmed)
	s.stored = snapshot.Confirmed
	snapshot.Confirmed = s.age(snapshot.Confirmed)
	s.begin = snapshot
	return true
}

// follows reports whether the records of an issuer are followed.
func (s *Set) follows(issuer events.Name) bool {
	return len(s.cfg.Issuers) == 0 || issuer == events.Platform || slices.Contains(s.cfg.Issuers, issuer)
}

// age moves a time on the wall clock of some process into ours. It does not believe one that has not come yet.
func (s *Set) age(confirmed time.Time) time.Time {
	if confirmed.IsZero() {
		return confirmed
	}
	now := s.cfg.Now()
	age := now.Sub(confirmed)
	if age < -s.cfg.Leeway {
		s.keeper.log.Warn().Time("confirmed", confirmed).
			Msg("the snapshot was confirmed in the future: a clock was set back, and it is not known how old it is")
		return time.Time{}
	}
	return now.Add(-max(age, s.cfg.MinAge)) // with a monotonic reading: it gets older, even if the clock is set back
}

// run connects, follows and keeps until ctx ends.
func (s *Set) run(ctx context.Context, conn *bus.Conn) {
	defer close(s.done)
	if conn == nil {
		if conn = s.connect(ctx); conn == nil {
			return
		}
	}
	defer conn.Close()
	set := conn.FollowKeySet(bus.KeySetConfig{Begin: s.begin, Issuers: s.cfg.Issuers, Logger: s.cfg.Logger})
	s.live.Store(set)
	s.keep(ctx, set)
	set.Close()
	select {
	case <-s.ready:
		s.keeper.now(set.Snapshot())
	default:
		if early := s.early(set); early != nil {
			s.keeper.now(early)
		}
	}
}

// connect tries until ctx ends. Then it returns nil.
func (s *Set) connect(ctx context.Context) *bus.Conn {
	for {
		conn, err := bus.Connect(ctx, s.cfg.Bus)
		if err == nil {
			return conn
		}
		if ctx.Err() != nil {
			return nil
		}
		s.cfg.Logger.Warn().Err(err).Msg("nats cannot be used")
		select {
		case s.failed <- err:
		default: // nobody waits any more
		}
		select {
		case <-time.After(redial):
		case <-ctx.Done():
			return nil
		}
	}
}

// keep writes what has changed, once the set is that of the buckets, until ctx ends.
func (s *Set) keep(ctx context.Context, set *bus.KeySet) {
	var catchingUp sync.WaitGroup
	defer catchingUp.Wait()
	catchingUp.Go(func() {
		if set.Wait(ctx) == nil {
			close(s.ready)
		}
	})
	tick := time.NewTicker(look)
	defer tick.Stop()
	for waiting := s.ready; ; {
		select {
		case <-waiting:
			waiting = nil
			s.keeper.now(set.Snapshot())
		case <-tick.C:
			if waiting == nil {
				s.keeper.look(set.Snapshot())
			} else if early := s.early(set); early != nil {
				s.keeper.look(early)
			}
		case <-ctx.Done():
			return
		}
	}
}

// early is what there is to keep while one of the buckets cannot be read, or not yet: what came from the other one. All of it is no more
// complete than the file that it began with was. Nil: there is nothing new, or the file was not good to start from.
func (s *Set) early(set *bus.KeySet) *events.Snapshot {
	now := set.Snapshot()
	now.Confirmed = s.stored
	tokens, had := now.Revocations, s.begin.Revocations
	if now.Keys == s.begin.Keys && tokens.Revision() <= had.Revision() && tokens.Len() <= had.Len() {
		return nil
	}
	return now
}

// Keys returns the key set of now. A later call may return another one: hold on to it only for one decision.
func (s *Set) Keys() *events.Set {
	if k := s.live.Load(); k != nil {
		return k.Keys()
	}
	return s.begin.Keys
}

// Revocations returns the set of revoked tokens.
func (s *Set) Revocations() *events.Revocations {
	if k := s.live.Load(); k != nil {
		return k.Revocations()
	}
	return s.begin.Revocations
}

// Confirmed is when both sets were last known to be complete; zero: never.
func (s *Set) Confirmed() time.Time {
	if k := s.live.Load(); k != nil {
		return k.Confirmed()
	}
	return s.begin.Confirmed
}

// Missing is that of the live set; see [bus.KeySet.Missing]. Zero while there is none.
func (s *Set) Missing() uint64 {
	if k := s.live.Load(); k != nil {
		return k.Missing()
	}
	return 0
}

// ReportUnknownKey tells of a kid that is not there; see [bus.KeySet.ReportUnknownKey]. While there is no connection, there is nobody to tell.
func (s *Set) ReportUnknownKey(issuer events.Name, kid events.KeyID) {
	if k := s.live.Load(); k != nil {
		k.ReportUnknownKey(issuer, kid)
	}
}

// Close stops following, writes what there is to write, and returns when nothing of it runs any more. The set stays readable.
func (s *Set) Close() {
	s.cancel()
	<-s.done
}

package bus

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
)

// Follower takes what a feed brings. The feed calls it from one goroutine; it must not block.
type Follower interface {
	// Restart begins a fresh fold: what is applied until Commit comes from the beginning of the bucket, and must not be
	// seen by readers before. A Restart may follow a Restart.
	Restart()
	// Apply takes one message. Revisions rise between two calls of Restart.
	Apply(events.Entry)
	// Commit says that the fresh fold is complete; it takes the place of what readers see.
	Commit()
}

// FeedStatus is what a feed knows about itself.
type FeedStatus struct {
	CaughtUp bool
	Revision uint64 // complete up to here
	Resyncs  int    // full reads from the beginning, the first one included
	Gaps     int    // how often the subscription ended and was made again
	Err      error  // why it ended the last time; nil while all is well
}

// Feed follows one bucket. See the package comment for what it guarantees.
type Feed struct {
	source   Source
	follower Follower
	log      zerolog.Logger
	cancel   context.CancelFunc
	done     chan struct{}
	caughtUp chan struct{}

	confirmed atomic.Pointer[time.Time] // read for every token that is verified

	mu     sync.Mutex // for status
	status FeedStatus

	// The rest belongs to the goroutine of run.
	last events.Entry // the last message applied
	full bool         // the next watch starts from the beginning
}

const (
	checkEvery   = 3 * time.Second // how often the stream's state is read,
	checkJitter  = time.Second     // this much sooner or later
	silenceLimit = 5 * time.Second // how long the stream may be ahead while nothing arrives
	// reconnectJitter spreads the watches that a server's restart makes all followers start at once.
	reconnectJitter = 250 * time.Millisecond
)

// Follow starts to follow a bucket; stop it with [Feed.Close]. It does not wait: see [Feed.CaughtUp].
func (c *Conn) Follow(bucket Bucket, f Follower, log zerolog.Logger) *Feed {
	return NewFeed(&stream{c, bucket}, f, log.With().Str("bucket", string(bucket)).Logger())
}

// NewFeed follows any source.
func NewFeed(source Source, follower Follower, log zerolog.Logger) *Feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Feed{
		source: source, follower: follower, log: log, cancel: cancel,
		done: make(chan struct{}), caughtUp: make(chan struct{}), full: true,
	}
	go f.run(ctx)
	return f
}

// Close stops following and returns when nothing of it runs any more.
func (f *Feed) Close() {
	f.cancel()
	<-f.done
}

// CaughtUp returns a channel that is closed when the feed has caught up for the first time.
func (f *Feed) CaughtUp() <-chan struct{} { return f.caughtUp }

// Status returns what the feed knows now.
func (f *Feed) Status() FeedStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Confirmed is when the stream last had nothing that is not applied; zero: never. It takes no lock.
func (f *Feed) Confirmed() time.Time {
	if t := f.confirmed.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

func (f *Feed) note(change func(*FeedStatus)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

// The reasons for which a feed reads everything again.
var (
	errRolledBack = errors.New("the bucket is older than what was applied")
	errHistory    = errors.New("the last message applied is not in the bucket any more")
)

// run makes one session after the other until ctx ends.
func (f *Feed) run(ctx context.Context) {
	defer close(f.done)
	for attempt := 0; ctx.Err() == nil; attempt++ {
		s := &session{feed: f, ctx: ctx}
		err := s.run()
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRolledBack) || errors.Is(err, errHistory) {
			f.full = true
		}
		f.note(func(st *FeedStatus) { st.Gaps++; st.Err = err })
		f.log.Warn().Err(err).Bool("resync", f.full).Uint64("revision", f.last.Revision).Msg("feed interrupted")
		if s.current {
			attempt = 0
		}
		f.wait(ctx, attempt, err)
	}
}

// wait lets time pass before the next session: until there is a connection, and the backoff.
func (f *Feed) wait(ctx context.Context, attempt int, err error) {
	delay := backoff(attempt)
	if errors.Is(err, errDisconnected) {
		delay = rand.N(reconnectJitter)
	}
	select {
	case <-f.source.Connected():
	case <-ctx.Done():
		return
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
}

// session is the life of one watch.
type session struct {
	feed *Feed
	ctx  context.Context // of the feed, for as long as the session's run lasts

	full      bool      // reads from the beginning into a fresh fold
	goal      State     // the stream before the watch began
	goalTime  time.Time // when it was read
	current   bool      // everything up to goal has been applied
	resumed   bool      // the first message was the one that was applied last
	covered   uint64    // everything up to here has been applied, or is not in the stream any more
	progress  time.Time // when covered last grew
	unsettled check     // a check whose Last has not been reached yet
	checking  bool
}

// check is one reading of the stream's state.
type check struct {
	state   State
	err     error
	asked   time.Time
	covered uint64 // by the session when it was asked
}

func (s *session) run() error {
	f := s.feed
	s.goalTime = time.Now()
	var err error
	if s.goal, err = f.source.State(s.ctx); err != nil {
		return err
	}
	if s.goal.Last < f.last.Revision {
		f.full = true
		f.log.Warn().Uint64("revision", f.last.Revision).Uint64("last", s.goal.Last).Msg("bucket was set back: reading everything again")
	}
	from := f.last.Revision
	if s.full = f.full || from == 0; s.full {
		from = 0
		f.last = events.Entry{}
		f.full = true
		f.follower.Restart()
		f.note(func(st *FeedStatus) { st.Resyncs++ })
	}
	s.resumed, s.progress = s.full, time.Now()
	watch, err := f.source.Watch(s.ctx, from)
	if err != nil {
		return err
	}
	defer watch.Stop()
	return s.loop(watch)
}

func (s *session) loop(watch Watch) error {
	checks := make(chan check, 1)
	timer := time.NewTimer(0) // one check at once: an empty or expired stream delivers nothing
	defer timer.Stop()
	for {
		var err error
		select {
		case d := <-watch.Deliveries():
			select {
			case err = <-watch.Failed(): // what comes after a gap is not used
			default:
				err = s.take(d)
			}
		case c := <-checks:
			s.checking = false
			err = s.settle(c)
		case <-timer.C:
			timer.Reset(checkEvery - checkJitter + rand.N(2*checkJitter))
			s.ask(checks)
		case err = <-watch.Failed():
		case <-s.ctx.Done():
			err = s.ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// ask reads the stream's state in the background: taking messages never waits for an answer.
func (s *session) ask(checks chan<- check) {
	if s.checking {
		return
	}
	s.checking = true
	c := check{asked: time.Now(), covered: s.covered}
	go func() {
		c.state, c.err = s.feed.source.State(s.ctx)
		checks <- c
	}()
}

// take applies one delivery.
func (s *session) take(d Delivery) error {
	f := s.feed
	if !s.resumed {
		// The first message of a resumed watch must be the last one applied: nothing else proves that the
		// bucket still is what it was.
		switch {
		case d.Entry.Revision == 0 && d.Through < f.last.Revision:
			return nil
		case !sameMessage(d.Entry, f.last):
			return errHistory
		}
		s.resumed = true
		return s.cover(d.Through)
	}
	if d.Entry.Revision != 0 {
		f.follower.Apply(d.Entry)
		f.last = d.Entry
	}
	return s.cover(d.Through)
}

func sameMessage(a, b events.Entry) bool {
	return a.Revision == b.Revision && a.Name == b.Name && a.Time.Equal(b.Time) && a.Deleted == b.Deleted && bytes.Equal(a.Value, b.Value)
}

// cover notes that everything up to through is done.
func (s *session) cover(through uint64) error {
	if through <= s.covered && s.current {
		return nil
	}
	if through > s.covered {
		s.covered, s.progress = through, time.Now()
	}
	if !s.current && s.covered >= s.goal.Last {
		s.becomeCurrent()
	}
	if s.current {
		revision := s.covered
		s.feed.note(func(st *FeedStatus) { st.Revision = revision })
	}
	if !s.unsettled.asked.IsZero() && s.covered >= s.unsettled.state.Last {
		s.confirm(s.unsettled.asked)
	}
	return nil
}

// becomeCurrent is reached once in a session: everything up to goal has been applied.
func (s *session) becomeCurrent() {
	f := s.feed
	s.current = true
	if s.full {
		f.follower.Commit()
		f.full = false
	}
	revision := s.covered
	f.note(func(st *FeedStatus) { st.CaughtUp, st.Revision, st.Err = true, revision, nil })
	s.confirm(s.goalTime)
	select {
	case <-f.caughtUp:
	default:
		close(f.caughtUp)
	}
	f.log.Debug().Uint64("revision", s.covered).Msg("feed caught up")
}

// confirm notes that at the given time the stream had nothing that is not applied now.
func (s *session) confirm(at time.Time) {
	s.unsettled = check{}
	if !s.current {
		return
	}
	if at.After(s.feed.Confirmed()) {
		s.feed.confirmed.Store(&at)
	}
}

// settle draws the conclusions of a check.
func (s *session) settle(c check) error {
	switch {
	case c.err != nil:
		s.feed.note(func(st *FeedStatus) { st.Err = c.err })
		return nil // freshness tells; the watch itself may be well
	case c.state.Last < c.covered:
		return errRolledBack
	case c.state.First > c.state.Last && s.resumed:
		// Nothing is left in the stream, so nothing is missing.
		if err := s.cover(c.state.Last); err != nil {
			return err
		}
	}
	if s.covered >= c.state.Last {
		s.confirm(c.asked)
		return nil
	}
	s.unsettled = c
	if time.Since(s.progress) > silenceLimit {
		return errSilent
	}
	return nil
}

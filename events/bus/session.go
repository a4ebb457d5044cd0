package bus

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keyherald/keyherald/events"
)

const (
	checkEvery  = 3 * time.Second // how often the stream's state is read,
	checkJitter = time.Second     // this much sooner or later
	// countEvery is how often it is read when somebody waits for the count.
	countEvery = 50 * time.Millisecond
	// behindLimit is how long the stream may be ahead of what is applied while nothing arrives.
	behindLimit = 5 * time.Second
	// silenceLimit is how long a watch may give no sign of life: three heartbeats, and a second for the way.
	silenceLimit = 3*Heartbeat + time.Second
	// oldestState is how old a reading of the stream's state may be: a server that is not followed any more for longer may have been
	// replaced. It takes four seconds at least to replace one.
	oldestState = 3 * time.Second
	// morePatience is how long an answer is waited for when the one before did not come within requestTimeout.
	morePatience = 10 * time.Second
	// shortReads is how often everything is read again because less came than there is. Then the feed goes on with what there is, and says so:
	// what cannot be read anywhere does not come back by that, and most of the bucket is better than nothing.
	shortReads = 3
)

var (
	// errSilent ends a session whose watch brings nothing, although it should.
	errSilent = errors.New("the subscription has fallen silent")
	// errSkipped ends a session whose watch says that it is through with something, and has not brought the last message of it.
	errSkipped = errors.New("the subscription has passed over a message")
	// errSetBack and errHistory end a session, and let the next one read everything again.
	errSetBack = errors.New("the bucket is older than what was applied")
	errHistory = errors.New("the last message applied is not in the bucket any more")
	// errIncomplete ends a session, and lets the next one read everything again: perhaps from another server.
	errIncomplete = errors.New("the server does not deliver all that it says is in the bucket: its files may be damaged")
	// errOldState is why a reading of the stream's state is not used.
	errOldState = errors.New("the server that knows what is in the bucket has lost contact with the others")
)

// session is the life of one watch. It belongs to the feed's goroutine.
type session struct {
	feed   *Feed
	checks chan check
	asking sync.WaitGroup // the goroutine of a check

	full     bool      // reads from the beginning into a fresh fold
	matched  bool      // full, or the first message was the one that was applied last
	goal     State     // the stream before the watch began,
	goalTime time.Time // at this time or later
	current  time.Time // since when everything up to goal has been applied; zero: it has not
	read     uint64    // full: how many messages up to goal have come
	counted  bool      // full: that was compared with how many there are, or cannot be

	covered     uint64    // everything up to here has been applied, or is not in the stream any more
	behindSince time.Time // when a check found the stream ahead, nothing having been covered since; zero: it is not
	checking    bool      // a check has been asked and not answered
	seen        uint64    // the stream's last sequence by the last answer
	unconfirmed check     // the oldest check that has found nothing wrong and not been confirmed yet
}

// check is one reading of the stream's state.
type check struct {
	state State
	err   error
	asOf  time.Time // the stream was so at this time or later; zero: there is no check
}

// follow lets one session follow the source until something ends it.
func (f *Feed) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{feed: f, checks: make(chan check, 1)}
	f.current = time.Time{}
	defer s.asking.Wait()
	defer cancel()
	c := f.read(ctx, f.patience())
	if c.err == nil && c.state.Last < f.last.Revision && !c.asOf.After(f.grown) {
		c.err = errOldState
	}
	if c.err != nil {
		return c.err
	}
	s.goal, s.goalTime, s.seen = c.state, c.asOf, c.state.Last
	from := s.begin()
	request, stop := context.WithTimeout(ctx, f.patience())
	watch, err := f.source.Watch(request, from)
	stop()
	if err != nil {
		return err
	}
	defer watch.Stop()
	return s.loop(ctx, watch)
}

// patience is how long to wait for an answer. When servers have thousands to answer who have lost their watches at the same moment, an answer comes
// late; whoever asked again then, as if the question had got lost, would make all answers come later still, in the end too late for everybody.
func (f *Feed) patience() time.Duration {
	if f.late {
		return morePatience
	}
	return requestTimeout
}

// noteLate notes a question to which no answer came in time.
func (f *Feed) noteLate(err error) {
	f.late = f.late || errors.Is(err, context.DeadlineExceeded)
}

// read reads the stream's state.
func (f *Feed) read(ctx context.Context, patience time.Duration) (c check) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	asked := time.Now()
	c.state, c.err = f.source.State(ctx)
	c.asOf = asked.Add(-c.state.Age)
	if c.err == nil && c.state.Age > oldestState {
		c.err = errOldState
	}
	return c
}

// begin decides where the watch begins.
func (s *session) begin() (from uint64) {
	f := s.feed
	switch {
	case f.full:
	case f.last.Revision == 0 && f.Status().Missing == 0: // nothing was there, and readers see nothing: that may be said until more is read
		f.full, f.nothing = true, true
	case !f.whole || s.goal.Last < f.last.Revision || s.goal.First > f.last.Revision:
		f.full = true
		f.log.Warn().Uint64("revision", f.last.Revision).Uint64("first", s.goal.First).Uint64("last", s.goal.Last).
			Bool("interrupted", !f.whole).Msg("there is nothing to resume at: reading everything again")
	default:
		return f.last.Revision
	}
	s.full, s.matched = true, true
	f.last = events.Entry{}
	f.follower.Restart()
	if !f.nothing {
		f.note(func(st *FeedStatus) { st.Resyncs++; st.CaughtUp = false })
	}
	return 0
}

func (s *session) loop(ctx context.Context, watch Watch) error {
	next := time.NewTimer(s.firstCheck())
	defer next.Stop()
	silence := time.NewTimer(silenceLimit)
	defer silence.Stop()
	for {
		var err error
		select {
		case d := <-watch.Deliveries():
			silence.Reset(silenceLimit)
			select {
			case err = <-watch.Failed(): // what comes after a gap is not used
			default:
				err = s.take(d)
			}
		case c := <-s.checks:
			s.checking = false
			err = s.settle(c)
		case <-next.C:
			next.Reset(s.nextCheck())
			s.ask(ctx)
		case <-s.feed.hurry:
			s.feed.hurried = true
			next.Reset(0)
		case <-silence.C:
			err = errSilent
			if len(watch.Deliveries()) > 0 { // it is us who were slow
				silence.Reset(silenceLimit)
				err = nil
			}
		case err = <-watch.Failed():
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// firstCheck is at once if there is nothing in the stream to be delivered.
func (s *session) firstCheck() time.Duration {
	if s.goal.First > s.goal.Last {
		return 0
	}
	return s.nextCheck()
}

// nextCheck is when the stream's state is to be read again.
func (s *session) nextCheck() time.Duration {
	if s.feed.hurried && s.full && !s.counted {
		return countEvery
	}
	return checkEvery - checkJitter + s.feed.random(2*checkJitter)
}

// ask reads the stream's state in the background: taking messages never waits for an answer.
func (s *session) ask(ctx context.Context) {
	if s.checking {
		return
	}
	s.checking = true
	patience := s.feed.patience()
	s.asking.Go(func() { s.checks <- s.feed.read(ctx, patience) }) // there is room: one check at a time
}

// take applies one delivery.
func (s *session) take(d Delivery) error {
	f := s.feed
	switch {
	case !s.matched:
		// The first message of a resumed watch must be the last one applied: nothing else proves that the
		// bucket still is what it was. A heartbeat may come before it, but not one that has passed it by.
		if d.Entry.Revision == 0 && d.Through < f.last.Revision {
			return nil
		}
		if !sameMessage(d.Entry, f.last) {
			return errHistory
		}
		s.matched = true
	case s.isCurrent() && d.Entry.Revision == 0 && d.Through > s.covered:
		// A message that is left out before another may have been pushed out of the history by it: that is no fault, and happens to
		// all followers of the bucket at once. Nothing can have pushed out the last one.
		return errSkipped
	case d.Entry.Revision > f.last.Revision: // and not one that came twice
		f.follower.Apply(d.Entry)
		f.last = d.Entry
		if d.Entry.Revision <= s.goal.Last {
			s.read++
		}
	}
	s.cover(d.Through)
	f.whole = d.Pending == 0
	if !f.whole {
		return nil
	}
	s.conclude()
	// A check is confirmed by a sign of life that comes after its answer: the consumer, and so the stream that it belongs
	// to, was there when the check was asked. Without it, a bucket that is made again with as many messages would pass.
	if !s.unconfirmed.asOf.IsZero() && s.isCurrent() && s.covered >= s.unconfirmed.state.Last {
		s.confirm(s.unconfirmed.asOf)
		s.unconfirmed = check{}
	}
	return nil
}

func sameMessage(a, b events.Entry) bool {
	return a.Revision == b.Revision && a.Name == b.Name && a.Time.Equal(b.Time) && a.Deleted == b.Deleted && bytes.Equal(a.Value, b.Value)
}

// cover notes that everything up to through has been looked at.
func (s *session) cover(through uint64) {
	if through > s.covered {
		s.covered, s.behindSince = through, time.Time{}
		s.feed.grown = time.Now()
	}
}

// conclude draws the conclusions of having everything up to covered. That is so only when there was nothing left to
// deliver: else, what was pushed out of the history by a message that is still to come is missing, and so is that message.
func (s *session) conclude() {
	if !s.isCurrent() && s.covered >= s.goal.Last {
		s.becomeCurrent()
	}
	if s.isCurrent() {
		s.feed.note(func(st *FeedStatus) { st.Revision = s.covered })
	}
}

func (s *session) isCurrent() bool { return !s.current.IsZero() }

// becomeCurrent is reached once in a session: everything up to goal has been applied. That the watch was made after goal was
// read confirms it: it belongs to a stream that was still there.
func (s *session) becomeCurrent() {
	f := s.feed
	f.late = false
	s.current = time.Now()
	f.current = s.current
	if s.full {
		f.follower.Commit()
		f.full, f.nothing = false, false
	}
	f.note(func(st *FeedStatus) { st.CaughtUp, st.Revision = true, s.covered })
	s.confirm(s.goalTime)
	select {
	case <-f.caughtUp:
	default:
		close(f.caughtUp)
	}
	f.log.Debug().Uint64("revision", s.covered).Bool("full", s.full).Msg("feed caught up")
}

// confirm notes that at the given time the stream had nothing that is not applied now.
func (s *session) confirm(at time.Time) {
	f := s.feed
	if at.After(f.Confirmed()) {
		f.confirmed.Store(&at)
	}
	f.note(func(st *FeedStatus) { st.Err = nil })
}

// settle draws the conclusions of a check.
func (s *session) settle(c check) error {
	if c.err != nil {
		s.feed.noteLate(c.err)
		s.feed.note(func(st *FeedStatus) { st.Err = c.err })
		return nil // freshness tells; the watch itself may be well
	}
	if c.state.Last < max(s.covered, s.seen) && c.asOf.After(s.feed.grown) { // else it is only older than what is known
		return errSetBack
	}
	if c.state.Last > s.seen {
		s.seen = c.state.Last
		s.feed.grown = time.Now()
	}
	if c.state.First > c.state.Last && s.matched {
		s.cover(c.state.Last) // nothing is left in the stream, so nothing is missing
		s.conclude()
	}
	if err := s.count(c); err != nil {
		return err
	}
	switch {
	case s.covered >= c.state.Last:
		s.behindSince = time.Time{}
	case s.behindSince.IsZero():
		s.behindSince = time.Now()
	case time.Since(s.behindSince) > behindLimit:
		return errSilent
	}
	if s.unconfirmed.asOf.IsZero() {
		s.unconfirmed = c
	}
	s.feed.late = false
	return nil
}

// count compares how many messages a full read has brought with how many there are, if the stream is still what it was when it began. A server
// passes over what it cannot read, and does not say so.
func (s *session) count(c check) error {
	f := s.feed
	if !s.full || s.counted || !s.isCurrent() || !c.asOf.After(s.current) {
		return nil
	}
	s.counted = true
	defer f.judge()
	if c.state.First != s.goal.First || c.state.Last != s.goal.Last || c.state.Messages != s.goal.Messages {
		return nil // something was written, or went away
	}
	missing := s.goal.Messages - min(s.read, s.goal.Messages)
	f.note(func(st *FeedStatus) { st.Missing, st.Counted = missing, true })
	if missing == 0 {
		f.short = 0
		return nil
	}
	f.log.Warn().Uint64("missing", missing).Uint64("messages", s.goal.Messages).Msg("the server does not deliver all that it says is in the bucket: its files may be damaged")
	if f.short++; f.short > shortReads {
		return nil
	}
	return errIncomplete
}

// judge tells those who wait that there was a comparison, or none could be made.
func (f *Feed) judge() {
	select {
	case <-f.judged:
	default:
		close(f.judged)
	}
}

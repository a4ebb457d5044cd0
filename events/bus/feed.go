package bus

import (
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
	CaughtUp bool   // what readers see is the bucket up to Revision: not so before the first full read, and while it is read again
	Revision uint64 // complete up to here
	Resyncs  int    // full reads from the beginning, the first one included; not those of a bucket in which nothing had been
	Missing  uint64 // messages that the server says are there, and does not deliver: its files are damaged
	Counted  bool   // Missing is known: some full read was compared with what there is, which cannot be while something is written
	Gaps     int    // how often the subscription ended and was made again
	Err      error  // why it ended the last time, or could not be checked; nil while all is well
}

// Feed follows one bucket. See the package comment for what it guarantees.
type Feed struct {
	source   Source
	follower Follower
	log      zerolog.Logger
	random   jitter
	cancel   context.CancelFunc
	done     chan struct{}
	caughtUp chan struct{}
	judged   chan struct{} // closed when a full read was compared with what there is, or could not be
	hurry    chan struct{} // somebody waits for that

	confirmed atomic.Pointer[time.Time] // read for every token that is verified

	mu     sync.Mutex // for status and noted
	status FeedStatus
	noted  chan struct{} // closed when status changes; nil while nobody waits

	// The rest belongs to the goroutine of run.
	last    events.Entry // the last message applied
	grown   time.Time    // when the stream was last known to be longer than before
	current time.Time    // since when the last session has been current; zero: it never was
	whole   bool         // there was nothing to come after last: what is applied is the bucket as it was then
	full    bool         // the next watch starts from the beginning
	nothing bool         // full, and what is read then replaces nothing: there was nothing in the bucket
	hurried bool         // the stream's state is read often until the full read is compared with it
	late    bool         // some question got no answer in time, and since then none did
	short   int          // how many full reads in a row have brought less than there is
}

const (
	// A watch that ended is made again after 50 ms at the earliest and 30 s at the latest.
	firstRewatch = 100 * time.Millisecond
	lastRewatch  = 30 * time.Second
	// reconnectJitter spreads the watches that a server's restart makes all followers start at once.
	reconnectJitter = 250 * time.Millisecond
	// steady is how long a watch must have lived for the one after it to be made without delay,
	steady = 10 * time.Second
	// steadyCurrent how long it must have been current: less than it takes to notice that it has fallen silent.
	steadyCurrent = 5 * time.Second
)

// Follow starts to follow a bucket; stop it with [Feed.Close]. It does not wait: see [Feed.CaughtUp].
func (c *Conn) Follow(bucket Bucket, f Follower, log zerolog.Logger) *Feed {
	return NewFeed(c.Source(bucket), f, log.With().Str("bucket", string(bucket)).Logger())
}

// NewFeed follows any source.
func NewFeed(source Source, follower Follower, log zerolog.Logger) *Feed {
	return newFeed(source, follower, log, rand.N)
}

// jitter returns a random duration from zero to below its argument.
type jitter func(time.Duration) time.Duration

func newFeed(source Source, follower Follower, log zerolog.Logger, random jitter) *Feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Feed{
		source: source, follower: follower, log: log, random: random, cancel: cancel,
		done: make(chan struct{}), caughtUp: make(chan struct{}), judged: make(chan struct{}), hurry: make(chan struct{}, 1), full: true,
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
	f.wake()
}

// run makes one session after the other until ctx ends.
func (f *Feed) run(ctx context.Context) {
	defer close(f.done)
	for attempt := 0; ; attempt++ {
		began := time.Now()
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		f.noteLate(err)
		if errors.Is(err, errSetBack) || errors.Is(err, errHistory) || errors.Is(err, errIncomplete) {
			f.full = true
		}
		f.note(func(st *FeedStatus) { st.Gaps++; st.Err = err })
		f.log.Warn().Err(err).Bool("resync", f.full).Uint64("revision", f.last.Revision).Msg("feed interrupted")
		if time.Since(began) > steady || !f.current.IsZero() && time.Since(f.current) > steadyCurrent {
			attempt = 0
		}
		if f.pause(ctx, attempt) != nil {
			return
		}
	}
}

// pause lets time pass before the next session: until there is a connection, and so that a server which cannot
// serve is not asked over and over.
func (f *Feed) pause(ctx context.Context, attempt int) error {
	delay := backoff(attempt, firstRewatch, lastRewatch, f.random)
	connected := f.source.Connected()
	select {
	case <-connected:
	default:
		select {
		case <-connected:
		case <-ctx.Done():
			return ctx.Err()
		}
		// What happened before was the connection's fault, for which the connection itself has been patient.
		delay = f.random(reconnectJitter << min(attempt, 3))
	}
	return sleep(ctx, delay)
}

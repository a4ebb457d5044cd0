package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/keyherald/keyherald/events"
)

// Source is a bucket's stream, as a [Feed] needs it. A Source does not promise that a watch brings everything, or that it
// says so when it does not: that is the feed's to find out. What it does promise:
//
//   - State is what the stream was no longer than its Age before it was asked, or at some moment since;
//   - the deliveries of one watch come in the order in which the stream's consumer sent them, with none left out between the first
//     and the last: a watch that notices a gap fails instead;
//   - a watch that has nothing to deliver says so every [Heartbeat], for as long as its consumer and its stream exist.
type Source interface {
	// State reads the stream's first and last sequence, before ctx ends.
	State(ctx context.Context) (State, error)
	// Watch delivers the retained messages from the given sequence on (zero: all), then new ones. A
	// sequence beyond the last one is taken at its word: the watch may claim to have looked at everything before it. It must have
	// begun before ctx ends, and goes on then.
	Watch(ctx context.Context, from uint64) (Watch, error)
	// Connected returns a channel that is closed once there is a connection.
	Connected() <-chan struct{}
}

// State of a stream. Of an empty one, First is greater than Last.
type State struct {
	First, Last uint64
	Messages    uint64 // how many there are between the two
	// Age is for how long whoever answered has not known that nobody else decides about the stream.
	Age time.Duration
}

// Watch is one subscription of a source.
type Watch interface {
	Deliveries() <-chan Delivery
	// Failed yields one error when the watch has ended by itself.
	Failed() <-chan error
	// Stop ends the watch and returns when nothing of it runs any more. It may be called more than once.
	Stop()
}

// Delivery is one message, or the word of the stream's consumer that it has nothing to send up to a sequence.
type Delivery struct {
	Entry   events.Entry // with revision zero: there is no message
	Through uint64       // the consumer has looked at everything up to this sequence
	Pending uint64       // how many messages the consumer had yet to send, as far as it knew
}

// Heartbeat is how often a watch gives a sign of life when it has nothing else to deliver.
const Heartbeat = 2 * time.Second

// The ways in which a watch ends.
var (
	errDisconnected = errors.New("the connection was lost")
	errMissed       = errors.New("a message was lost on the way")
)

const (
	// consumerLinger is how long the server keeps a consumer that nobody listens to. When thousands have lost their server, their consumers are made
	// again before the old ones are thrown away: to do both at once takes the servers so long that most requests come to nothing.
	consumerLinger  = 30 * time.Second
	deliveryBacklog = 1024
)

// stream is the Source of a bucket on a server.
type stream struct {
	conn   *Conn
	bucket Bucket
	wanted followed
}

var _ Source = (*stream)(nil)

// Source is the bucket's stream on the server.
func (c *Conn) Source(bucket Bucket) Source { return &stream{conn: c, bucket: bucket} }

func (s *stream) Connected() <-chan struct{} { return s.conn.Connected() }

// impatience is how long an impatient feed waits for an answer.
const impatience = 2 * time.Second

// patience is how long an answer is waited for.
func (s *stream) patience(ctx context.Context) time.Duration {
	if s.conn.impatient {
		return min(impatience, timeLeft(ctx))
	}
	return timeLeft(ctx)
}

func (s *stream) State(ctx context.Context) (State, error) {
	stream, err := s.conn.info(ctx, s.patience(ctx), s.bucket)
	if err != nil {
		return State{}, fmt.Errorf("reading the state of %s: %w", s.bucket, err)
	}
	age, ok := leaderAge(stream.CachedInfo().Cluster)
	if !ok {
		return State{}, fmt.Errorf("reading the state of %s: %w", s.bucket, ErrNoLeader)
	}
	info := stream.CachedInfo().State
	state := State{First: info.FirstSeq, Last: info.LastSeq, Messages: info.Msgs, Age: age}
	if info.Msgs == 0 { // a stream that never had a message says 0 and 0
		state.First = state.Last + 1
	}
	return state, nil
}

// leaderAge is how long ago the server that has answered was last known to be the stream's leader: when a majority, itself included, has
// followed it. It reports false for a server that is not the leader, as one that has lost its store, and is not told yet that there is a leader.
// One that was paused, or is cut off from the others, takes itself for the leader for ten seconds more.
func leaderAge(c *jetstream.ClusterInfo) (time.Duration, bool) {
	if c == nil { // no cluster
		return 0, true
	}
	var heard []time.Duration
	for _, r := range c.Replicas {
		if r.Name == c.Leader { // a leader does not list itself
			return 0, false
		}
		if r.Active > 0 { // zero: never
			heard = append(heard, r.Active)
		}
	}
	others := (len(c.Replicas) + 1) / 2 // that it takes for a majority
	if c.Leader == "" || len(heard) < others {
		return 0, false
	}
	if others == 0 {
		return 0, true
	}
	slices.Sort(heard)
	return heard[others-1], true
}

// Watch makes an ephemeral push consumer of its own for each watch. It is not the ordered consumer of the client library,
// which hides its restarts, and not kv.Watch, which leaves out the headers and has an end marker that can come early.
func (s *stream) Watch(ctx context.Context, from uint64) (Watch, error) {
	inbox := s.conn.nc.NewInbox()
	cfg := jetstream.ConsumerConfig{
		Name:              "kh_" + nuid.Next(),
		DeliverSubject:    inbox,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		MaxDeliver:        1,
		FilterSubject:     s.bucket.Filter(),
		FlowControl:       true,
		IdleHeartbeat:     Heartbeat,
		InactiveThreshold: consumerLinger,
		Replicas:          1,
		MemoryStorage:     true,
	}
	if from > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	w, err := s.conn.subscribe(s, cfg.Name, inbox)
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", s.bucket, translate(err))
	}
	subject := fmt.Sprintf("$JS.API.CONSUMER.CREATE.%s.%s.%s", s.bucket.Stream(), cfg.Name, cfg.FilterSubject)
	request, stop := s.conn.requestWithin(ctx, s.patience(ctx), subject)
	defer stop()
	if _, err := s.conn.js.CreatePushConsumer(request, s.bucket.Stream(), cfg); err != nil {
		err = cause(request, err)
		w.Stop()
		return nil, fmt.Errorf("watching %s: %w", s.bucket, translate(err))
	}
	return w, nil
}

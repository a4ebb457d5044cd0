package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events"
)

// Extent is what a bucket's stream says of itself: which stream it is, and what it has.
type Extent struct {
	Stream      string
	Created     time.Time // another one, if the stream was made again or restored through JetStream's API
	First, Last uint64    // sequences; of an empty stream, First is greater than Last
	Messages    uint64
	Time        time.Time // when the server answered, by its clock
}

// Extent asks the server about a bucket's stream.
func (c *Conn) Extent(ctx context.Context, bucket Bucket) (Extent, error) {
	stream, err := c.info(ctx, requestTimeout, bucket)
	if err != nil {
		return Extent{}, fmt.Errorf("reading the state of %s: %w", bucket, err)
	}
	info := stream.CachedInfo()
	x := Extent{Stream: bucket.Stream(), Created: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq, Messages: info.State.Msgs,
		Time: info.TimeStamp}
	if x.Messages == 0 {
		x.First = x.Last + 1
	}
	return x, nil
}

// Read calls f with every message that a bucket retains, in the order of their revisions, and returns the revision up to which that was
// all. It is the bucket as it was at one moment after the call: Read goes on past the last message that there was in the beginning for
// as long as there is more, because that may have pushed out of the history what had not been read yet. Nothing is left out unseen: when
// the connection is lost, or a message, or f returns an error, Read ends with an error.
func (c *Conn) Read(ctx context.Context, bucket Bucket, f func(events.Entry) error) (through uint64, err error) {
	source := &stream{c, bucket, followed{}} // of nobody: no message is read as a record ahead of time
	goal, err := source.State(ctx)
	if err != nil {
		return 0, err
	}
	if goal.First > goal.Last {
		return goal.Last, nil
	}
	watch, err := source.Watch(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer watch.Stop()
	if through, err = readThrough(ctx, watch, goal.Last, f); err != nil {
		return 0, fmt.Errorf("reading %s: %w", bucket, err)
	}
	return through, nil
}

// readThrough takes from a watch until it has looked at everything up to last, and had nothing left.
func readThrough(ctx context.Context, watch Watch, last uint64, f func(events.Entry) error) (through uint64, err error) {
	silence := time.NewTimer(silenceLimit)
	defer silence.Stop()
	for {
		select {
		case d := <-watch.Deliveries():
			silence.Reset(silenceLimit)
			if d.Entry.Revision > through { // and not one that came twice
				if err := f(d.Entry); err != nil {
					return 0, err
				}
			}
			if through = max(through, d.Through); through >= last && d.Pending == 0 {
				return through, nil
			}
		case err := <-watch.Failed():
			return 0, translate(err)
		case <-silence.C:
			if len(watch.Deliveries()) == 0 { // else it is f that was slow
				return 0, errSilent
			}
			silence.Reset(silenceLimit)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

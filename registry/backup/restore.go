package backup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Target is where records are restored to.
type Target interface {
	Source
	// Put writes a message if the last one on its name is the one that it replaces, else the error tests as [bus.ErrConflict]. What
	// is acknowledged is durable.
	Put(ctx context.Context, p bus.Put) (uint64, error)
}

var _ Target = (*bus.Conn)(nil)

// ErrChanged: somebody else has written what the restore was about to write, or had written.
var ErrChanged = errors.New("the buckets were changed by somebody else meanwhile")

// writers is how many writes are under way at one time: each waits for a disk.
const writers = 64

// Restore does what a plan of the same Archive says, and looks afterwards whether it is so. Any number of messages may have been written
// when it fails; to make a plan again and to restore by it does the rest.
func (a *Archive) Restore(ctx context.Context, to Target, plan *Plan, o Options, by string, meter Meter) error {
	add, end := meter.start("writing", plan.Writes())
	for _, steps := range plan.steps {
		if err := a.write(ctx, to, steps, by, add); err != nil {
			end()
			return err
		}
	}
	end()
	after, err := a.Plan(ctx, to, o, meter)
	if err != nil {
		return fmt.Errorf("looking at what was restored: %w", err)
	}
	if n := after.Writes(); n > 0 {
		return fmt.Errorf("%w: %d of their records are not as they were written", ErrChanged, n)
	}
	return nil
}

// write does the steps of one phase, in any order.
func (a *Archive) write(ctx context.Context, to Target, steps []step, by string, add func(int)) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	next := make(chan step)
	var group sync.WaitGroup
	for range min(writers, len(steps)) {
		group.Go(func() {
			for s := range next {
				if err := a.do(ctx, to, s, by); err != nil {
					fail(err)
				}
				add(1)
			}
		})
	}
	for _, s := range steps {
		select {
		case next <- s:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

func (a *Archive) do(ctx context.Context, to Target, s step, by string) error {
	put := bus.Put{Bucket: s.bucket, Name: s.name, Value: s.value, Replaces: s.item.revision, Caller: by, Delete: s.delete}
	if put.Value == nil && !put.Delete {
		e, err := a.load(s.item)
		if err != nil {
			return err
		}
		put.Value, put.Delete = e.Value, e.Deleted
		if len(put.Value) > events.MaxValue { // of what denies, whatever its value: anything else would be malformed
			put.Value = nil
		}
	}
	_, err := to.Put(ctx, put)
	if !errors.Is(err, bus.ErrConflict) {
		return err
	}
	if r := ruleOf(s.bucket, s.name); r == ruleDeny && s.item.revision == 0 || r == ruleAdd {
		return nil // it is there now, whoever wrote it
	}
	return fmt.Errorf("%w: record %s of %s", ErrChanged, s.name, s.bucket)
}

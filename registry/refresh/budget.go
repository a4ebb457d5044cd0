package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// budget is how many new keys of an issuer are registered in a day. It goes on where the node that refreshed before has left it: else a
// provider would get all of it again from each.
type budget struct {
	limiter
	loaded bool
}

func newBudget() budget {
	return budget{limiter: limiter{every: newKeysPer / maxNewKeys, burst: maxNewKeys}}
}

// load takes over what the issuer's state says, once. It fails rather than to assume that nothing was spent.
func (b *budget) load(ctx context.Context, store Store, issuer events.Name) error {
	if b.loaded {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	s, _, err := ReadState(ctx, store, issuer)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	// More than all of it was never spent: another node's clock can cost a day, and no more.
	b.free, b.loaded = time.Now().Add(min(time.Until(time.Unix(s.Spent, 0)), newKeysPer)), true
	return nil
}

// spend takes what a sync has written: all that was added or changed, and the key at which it failed, which may be written, too.
func (b *budget) spend(now time.Time, did registry.KeySync, err error) {
	var part *registry.UnfinishedSync
	if errors.As(err, &part) {
		b.take(now, len(part.Did.Added)+len(part.Did.Changed)+1)
		return
	}
	b.take(now, len(did.Added)+len(did.Changed))
}

// spentUntil is the limiter as a NumericDate; zero when all of it is there.
func (b *budget) spentUntil(now time.Time) int64 {
	if !b.free.After(now) {
		return 0
	}
	return b.free.Add(time.Second - 1).Unix() // never earlier than it is
}

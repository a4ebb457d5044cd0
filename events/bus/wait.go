package bus

import (
	"context"
	"fmt"
)

// WaitRevision returns when everything up to the given revision has been applied, or with the reason why it has not when
// ctx ends.
func (f *Feed) WaitRevision(ctx context.Context, revision uint64) error {
	for {
		status, noted := f.watchStatus()
		if status.CaughtUp && status.Revision >= revision {
			return nil
		}
		select {
		case <-noted:
		case <-f.done:
			return fmt.Errorf("waiting for revision %d: the feed was closed", revision)
		case <-ctx.Done():
			err := fmt.Errorf("waiting for revision %d, at %d: %w", revision, status.Revision, ctx.Err())
			if status.Err != nil {
				err = fmt.Errorf("%w: %w", err, status.Err)
			}
			return err
		}
	}
}

// Sync returns when everything has been applied that was in the bucket when Sync was called: a reader then sees every write that
// was acknowledged before, by whomever. It asks the server, so it is for those who are about to write. A bucket that was set back to
// an older state is an error until the feed has read it again.
func (f *Feed) Sync(ctx context.Context) error {
	before := f.Status().Revision
	state, err := f.source.State(ctx)
	if err != nil {
		return err
	}
	if state.Last < before {
		return fmt.Errorf("%w (revision %d, not %d): it is being read again, try again in a few seconds", errSetBack, state.Last, before)
	}
	return f.WaitRevision(ctx, state.Last)
}

// WaitRevision returns when the key set has everything up to the given revision of KEYS; see [Feed.WaitRevision].
func (k *KeySet) WaitRevision(ctx context.Context, revision uint64) error {
	return k.keysFeed.WaitRevision(ctx, revision)
}

// Sync returns when the key set has everything that was in KEYS when Sync was called; see [Feed.Sync].
func (k *KeySet) Sync(ctx context.Context) error { return k.keysFeed.Sync(ctx) }

// SyncRevocations is Sync for REVOCATIONS.
func (k *KeySet) SyncRevocations(ctx context.Context) error { return k.revFeed.Sync(ctx) }

// WaitCounted returns when a full read of each bucket was compared with what the server says is in it, or could not be, because something was
// written meanwhile: see [FeedStatus]. It has the servers asked more often until then, which is for one who looks, and not for each who follows.
func (k *KeySet) WaitCounted(ctx context.Context) error {
	for _, f := range []*Feed{k.keysFeed, k.revFeed} {
		select {
		case f.hurry <- struct{}{}:
		default: // it knows
		}
	}
	for _, f := range []*Feed{k.keysFeed, k.revFeed} {
		select {
		case <-f.judged:
		case <-ctx.Done():
			return fmt.Errorf("comparing what was read with what there is: %w", ctx.Err())
		}
	}
	return nil
}

// watchStatus returns the status, and a channel that is closed when it changes.
func (f *Feed) watchStatus() (FeedStatus, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.noted == nil {
		f.noted = make(chan struct{})
	}
	return f.status, f.noted
}

// wake lets those look again who wait for a change of the status. The caller holds mu.
func (f *Feed) wake() {
	if f.noted != nil {
		close(f.noted)
		f.noted = nil
	}
}

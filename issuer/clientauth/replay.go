package clientauth

import (
	"context"
	"errors"
	"time"

	"github.com/keyherald/keyherald/events"
)

// ErrReplayed is what [ReplayMemory.Use] returns for an assertion that was used before.
var ErrReplayed = errors.New("the assertion was used before")

// ReplayMemory remembers which assertions were used. All nodes share one: an assertion that was used at one of them is
// used up at every other.
type ReplayMemory interface {
	// Use notes that the client has used the assertion with the given jti. Of any number of calls with one client and
	// jti, on any number of nodes, exactly one returns nil before exp, and the others return an error that wraps
	// [ErrReplayed]. Any other error means that it is not known whether the assertion was used: it is not accepted then.
	// A nil error is given only after the use is as safe from loss as any record. After exp it may be forgotten.
	Use(ctx context.Context, client events.Name, jti string, exp time.Time) error
}

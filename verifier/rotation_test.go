package verifier_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// rotations are keys that come and go while tokens are verified.
type rotations struct {
	t      *testing.T
	feed   *feed
	v      *verifier.Verifier
	keys   []signer
	tokens []string // tokens[i] is signed with keys[i]
	good   []string // accepted all the time
	never  string   // refused all the time

	added, revoked atomic.Int64  // the keys below have been; told only after it was done
	round          chan struct{} // a reader has gone round
	stop           chan struct{}
}

// P1 and V24 while everything changes: what is good stays accepted, what is bad stays refused, and what was killed before a call began
// is refused by that call. The race detector watches, and the profiles of the runtime tell whether Verify ever waited.
func TestP1_VerifyIsRightWhileKeysRotate(t *testing.T) {
	const rounds, readers = 400, 3
	f := installation(t)
	r := &rotations{
		t: t, feed: f, v: f.verifier(),
		good:  []string{offline(t, offlineClaims), online(t, onlineClaims), external(t, externalClaims)},
		never: doubts(t).unknownKey,
		round: make(chan struct{}, 1),
		stop:  make(chan struct{}),
	}
	for i := range rounds {
		r.keys = append(r.keys, edSigner(fmt.Sprintf("r%d", i)))
		r.tokens = append(r.tokens, mint(t, r.keys[i], "at+jwt", offlineClaims))
	}
	before := runtime.SetMutexProfileFraction(1)
	defer runtime.SetMutexProfileFraction(before)
	runtime.SetBlockProfileRate(1)
	defer runtime.SetBlockProfileRate(0)

	var group sync.WaitGroup
	for range readers {
		group.Go(r.read)
	}
	for i := range rounds {
		r.rotate(i)
		for range readers { // let them see this state
			select {
			case <-r.round:
			case <-time.After(patience):
				t.Error("the readers do not go round")
			}
		}
		if t.Failed() {
			break
		}
	}
	close(r.stop)
	group.Wait()
	for _, where := range waitsBelow("verifier.(*Verifier).Verify") {
		t.Errorf("Verify waited:\n%s", where)
	}
}

func (r *rotations) read() {
	for n := 0; !r.t.Failed(); n++ {
		select {
		case <-r.stop:
			return
		case r.round <- struct{}{}:
		default:
		}
		runtime.Gosched() // to the writer, who is one against many
		if _, err := r.v.Verify(r.good[n%len(r.good)]); err != nil {
			r.t.Errorf("a good token: %v", err)
		}
		if _, err := r.v.Verify(r.never); reasonOf(err) != verifier.ReasonKey {
			r.t.Errorf("an unknown key: %v", err)
		}
		if i := r.revoked.Load() - 1; i >= 0 {
			if _, err := r.v.Verify(r.tokens[i]); reasonOf(err) != verifier.ReasonKeyState {
				r.t.Errorf("key %d was revoked before: %v", i, err)
			}
		}
		if i := r.added.Load() - 1; i >= 0 {
			_, err := r.v.Verify(r.tokens[i])
			beingRevoked := reasonOf(err) == verifier.ReasonKeyState && r.revoked.Load() >= i
			if err != nil && !beingRevoked {
				r.t.Errorf("key %d was registered before: %v", i, err)
			}
		}
	}
}

// rotate registers key i and revokes it, in one way or the other, and changes other things that must not matter.
func (r *rotations) rotate(i int) {
	f := r.feed
	f.putKey("orders", r.keys[i], "")
	r.added.Store(int64(i + 1))
	if i%2 == 0 {
		f.put(events.RevokedRecord("orders", r.keys[i].kid).String(), "")
	} else {
		f.putKey("orders", r.keys[i], `,"revoked":{"revoked_at":1}`)
	}
	r.revoked.Store(int64(i + 1))
	f.put("issuer.orders", ordersRecord)
	f.revokeToken(events.TokenByID("x", fmt.Sprint(i)), "")
	if i%50 != 49 {
		return
	}
	// As a feed does after a full resync: a set that was filled anew takes the place of the one in use.
	fresh := newFeed(r.t, nil)
	fresh.fill()
	for _, s := range r.keys[:i+1] {
		fresh.putKey("orders", s, `,"revoked":{"revoked_at":1}`)
	}
	fresh.Keys().KeepRevocations(f.Keys())
	f.keys.Store(fresh.Keys())
}

// waitsBelow returns the stacks in which a goroutine has waited for a lock or the like below the named function. (The runtime
// waits for itself, such as when memory is allocated; what counts is what was called.)
func waitsBelow(function string) []string {
	var found []string
	for _, profile := range []func([]runtime.BlockProfileRecord) (int, bool){runtime.MutexProfile, runtime.BlockProfile} {
		records := make([]runtime.BlockProfileRecord, 10_000)
		n, ok := profile(records)
		if !ok {
			return []string{"more records than this test has room for"}
		}
		for _, r := range records[:n] {
			var stack strings.Builder
			frames := runtime.CallersFrames(r.Stack())
			for more := true; more; {
				var frame runtime.Frame
				frame, more = frames.Next()
				fmt.Fprintf(&stack, "%s\n", frame.Function)
			}
			called, _, within := strings.Cut(stack.String(), function)
			if within && strings.Contains(called, "sync.") {
				found = append(found, stack.String())
			}
		}
	}
	return found
}

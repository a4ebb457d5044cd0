package verifier

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
)

// spares keeps judgements that are not in use. A sync.Pool would do as well, but for a lock that it takes after each garbage collection.
type spares []spare

type spare struct {
	judgement atomic.Pointer[judgement]
	_         [56]byte // the rest of a cache line
}

// newSpares has a few places for each processor.
func newSpares() spares { return make(spares, 4*runtime.GOMAXPROCS(0)) }

// take returns a judgement that nobody else has.
func (s spares) take() *judgement {
	const tries = 4
	first := rand.IntN(len(s))
	for n := range tries {
		if j := s[(first+n)%len(s)].judgement.Swap(nil); j != nil {
			return j
		}
	}
	return &judgement{place: first}
}

// give puts j back where it came from, unless there is another one by now.
func (s spares) give(j *judgement) { s[j.place].judgement.CompareAndSwap(nil, j) }

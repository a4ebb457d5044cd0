package bench

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

var (
	seed  = flag.Uint64("seed", 1, "seed of the mutated tokens: the same seed makes the same mutations")
	count = flag.Int("count", 20_000, "number of mutated tokens")
)

// tally counts how our verdicts and a peer's go together.
type tally struct {
	both, neither   int
	onlyTheirs      map[string]int    // they accept and we refuse, by our reason,
	what            map[string]string // with an example each
	onlyOurs        int
	onlyOursAllowed int // for what they read in a header and we do not, see plainTwin
}

func newTally() *tally {
	return &tally{onlyTheirs: map[string]int{}, what: map[string]string{}}
}

func (t *tally) String() string {
	var b strings.Builder
	theirs := 0
	for _, n := range t.onlyTheirs {
		theirs += n
	}
	fmt.Fprintf(&b, "both accept %d, both refuse %d, only ours accepts %d (and %d for their header alone), only theirs accepts %d:",
		t.both, t.neither, t.onlyOurs, t.onlyOursAllowed, theirs)
	for _, reason := range slices.Sorted(maps.Keys(t.onlyTheirs)) {
		fmt.Fprintf(&b, "\n  %6d  %-18s such as: %.100s", t.onlyTheirs[reason], reason, t.what[reason])
	}
	return b.String()
}

func (t *tally) add(other *tally) {
	t.both += other.both
	t.neither += other.neither
	t.onlyOurs += other.onlyOurs
	t.onlyOursAllowed += other.onlyOursAllowed
	for reason, n := range other.onlyTheirs {
		t.onlyTheirs[reason] += n
		t.what[reason] = other.what[reason]
	}
}

// peer is another library, and how it agrees with ours.
type peer struct {
	name   string
	verify func(token string) error
	*tally
}

func (w *world) peers() []peer {
	return []peer{{"go-jose", w.goJose, newTally()}, {"golang-jwt", w.golangJWT, newTally()}}
}

// TestWhatWeAcceptOthersAccept: there is no token that we accept and go-jose refuses, used strictly; nor golang-jwt.
func TestWhatWeAcceptOthersAccept(t *testing.T) {
	w := smallWorld(t)
	total := w.peers()
	for _, k := range w.list {
		token := compact(k, k.alg, goodHeader(k).String(), goodClaims(k).String())
		if err := w.ours(token); err != nil {
			t.Fatalf("a good token of %s, kid %s: %v", k.iss, k.kid, err)
		}
		for _, p := range total {
			if err := p.verify(token); err != nil {
				t.Fatalf("%s refuses a good token of %s, kid %s: %v", p.name, k.iss, k.kid, err)
			}
		}
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			mine := w.peers()
			for i := next.Add(1) - 1; i < int64(*count); i = next.Add(1) - 1 {
				w.differ(t, uint64(i), mine)
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range total {
				total[i].add(mine[i].tally)
			}
		})
	}
	group.Wait()
	t.Logf("%d tokens of seed %d", *count, *seed)
	for _, p := range total {
		t.Logf("%s: %s", p.name, p.tally)
		if *count >= 1000 && (p.both < *count/10 || p.neither < *count/10) {
			t.Error("the tokens are too much alike: this test shows little")
		}
	}
}

// differ makes token number i and compares the verdicts.
func (w *world) differ(t *testing.T, i uint64, peers []peer) {
	c := newCandidate(w, mrand.New(mrand.NewPCG(*seed, i)))
	token := c.token()
	what := strings.Join(c.did, "; ")
	ours := w.ours(token)
	twin := token
	if ours == nil {
		twin = c.plainTwin(token)
	}
	for _, p := range peers {
		theirs := p.verify(token)
		switch {
		case ours == nil && theirs == nil:
			p.both++
		case ours != nil && theirs != nil:
			p.neither++
		case ours != nil:
			reason := reasonOf(ours)
			p.onlyTheirs[reason]++
			p.what[reason] = what
		case twin != token && p.verify(twin) == nil:
			p.onlyOursAllowed++
		default:
			p.onlyOurs++
			t.Errorf("we accept and %s refuses (%v): seed %d, token %d: %s\n%s", p.name, theirs, *seed, i, what, token)
		}
	}
}

// reasonOf is our reason, and for what is malformed the parser's.
func reasonOf(err error) string {
	reason := string(err.(*verifier.Error).Reason)
	var parse *jws.Error
	if errors.As(err, &parse) {
		reason += "/" + string(parse.Reason)
	}
	return reason
}

// plainTwin returns the same claims, signed by the same key, under a header without the two things about which we differ on purpose:
//
//   - alg Ed25519 (RFC 9864) is EdDSA by a name that the others do not know yet;
//   - jwk, x5c and nonce: go-jose reads them, and refuses a token whose jwk is no key, though nobody has asked for it. We must not read
//     a key that a token brings (RFC 8725bis §3.10), and nonce is of another protocol (RFC 8555 §6.5.2).
func (c *candidate) plainTwin(token string) string {
	parts := strings.Split(token, ".")
	header, headerErr := base64.RawURLEncoding.DecodeString(parts[0])
	payload, payloadErr := base64.RawURLEncoding.DecodeString(parts[1])
	var members map[string]json.RawMessage
	if errors.Join(headerErr, payloadErr, json.Unmarshal(header, &members)) != nil {
		return token
	}
	before := len(members)
	for _, name := range []string{"jwk", "x5c", "nonce"} {
		delete(members, name)
	}
	var alg string
	if json.Unmarshal(members["alg"], &alg) == nil && alg == "Ed25519" {
		members["alg"] = json.RawMessage(`"EdDSA"`)
	} else if len(members) == before {
		return token
	}
	header, err := json.Marshal(members)
	if err != nil {
		return token
	}
	return compact(c.signer, c.signer.alg, string(header), string(payload))
}

func (w *world) ours(token string) error {
	_, err := w.verifier.Verify(token)
	return err
}

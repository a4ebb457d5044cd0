package events

import (
	"container/heap"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyherald/keyherald/events/strictjson"
)

// TokenID names one token in REVOCATIONS. It is comparable.
type TokenID struct {
	byJTI bool
	sum   [sha256.Size]byte
}

// TokenByID names the token of an issuer by its jti.
func TokenByID(iss, jti string) TokenID {
	var space [512]byte // on the stack for all but freak tokens
	text := append(append(append(space[:0], iss...), '\n'), jti...)
	return TokenID{true, sha256.Sum256(text)}
}

// TokenByText names a token that has no jti, by its header and payload as they stand in it: header "." payload. The
// signature is left out because a signature may have several encodings.
func TokenByText(signingInput []byte) TokenID {
	return TokenID{false, sha256.Sum256(signingInput)}
}

// String is the name in the bucket: jti.<base64url> or tok.<base64url>.
func (t TokenID) String() string {
	prefix := "tok."
	if t.byJTI {
		prefix = "jti."
	}
	return prefix + base64.RawURLEncoding.EncodeToString(t.sum[:])
}

// ParseTokenID reads a name in REVOCATIONS.
func ParseTokenID(name string) (TokenID, error) {
	kind, rest, _ := strings.Cut(name, ".")
	sum, err := decodeBase64(rest)
	if kind != "jti" && kind != "tok" || err != nil || len(sum) != sha256.Size {
		return TokenID{}, errors.New("not a name of REVOCATIONS: jti. or tok. and the base64url of a SHA-256")
	}
	return TokenID{kind == "jti", [sha256.Size]byte(sum)}, nil
}

// TokenRevocation is the value of a record in REVOCATIONS.
type TokenRevocation struct {
	Expires int64  // exp, NumericDate, of the token
	Reason  string // reason
	Extra   Extra
}

// ParseTokenRevocation reads and validates a token revocation.
func ParseTokenRevocation(data []byte) (*TokenRevocation, error) {
	var m members
	r := new(TokenRevocation)
	err := m.parse(data, func(name string, value []byte) (_ bool, err error) {
		switch name {
		case "exp":
			r.Expires, err = timestamp(value)
		case "reason":
			r.Reason, err = strictjson.String(value)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	r.Extra = m.extra
	return r, r.Validate()
}

// Validate checks the record. It is applied to what is read and to what is about to be written.
func (r *TokenRevocation) Validate() error {
	if r.Expires <= 0 {
		return errors.New("exp is missing: the token's own")
	}
	if len(r.Reason) > MaxReason {
		return fmt.Errorf("reason is longer than %d bytes", MaxReason)
	}
	return nil
}

// Encode validates the record and returns its JSON text.
func (r *TokenRevocation) Encode() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	var b builder
	b.int("exp", r.Expires)
	b.str("reason", r.Reason)
	b.extra(r.Extra)
	return b.object()
}

// Revocations is the set of revoked tokens. It only grows by messages, whatever they say; a token is
// forgotten when its exp is past by more than [MaxLeeway], which no verifier tolerates any more, and never because of
// something that happens to the bucket. Lookups take no lock.
type Revocations struct {
	tokens   *table[TokenID, revokedToken]
	revision atomic.Uint64
	emit     func(Change)

	mu       sync.Mutex // for Apply
	byExpiry expiryHeap
	oddNames int
}

type revokedToken struct {
	id     TokenID
	forget int64 // Unix seconds
}

// NewRevocations returns an empty set. With emit, every new revocation is told; see [NewSet].
func NewRevocations(emit func(Change)) *Revocations {
	return &Revocations{tokens: newTable[TokenID, revokedToken](), emit: emit}
}

// Revision is the revision of the last message applied.
func (r *Revocations) Revision() uint64 { return r.revision.Load() }

// Len is how many tokens are revoked and not yet forgotten.
func (r *Revocations) Len() int { return r.tokens.len() }

// Revoked reports whether the token is revoked.
func (r *Revocations) Revoked(id TokenID) bool { return r.tokens.get(id) != nil }

// Malformed is how many messages had a name that is not a token's. Their number is all that is kept of them.
func (r *Revocations) Malformed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.oddNames
}

// Apply adds what the message revokes. Any message on a token's name revokes it: put, marker or malformed alike. The
// order does not matter, and a message may come twice.
func (r *Revocations) Apply(e Entry, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetBefore(now)
	defer r.revision.Store(e.Revision)
	id, err := ParseTokenID(e.Name)
	if err != nil {
		r.oddNames++
		r.tell(RecordRejected, e, err.Error())
		return
	}
	// The bucket keeps no message longer than MaxAge: no token that it can revoke lives longer.
	forget, reason := e.Time.Add(RevocationsMaxAge), "malformed: kept for the longest life of a token"
	if e.Deleted {
		reason = "a marker: kept for the longest life of a token"
	} else if said, err := ParseTokenRevocation(e.Value); err == nil {
		reason = said.Reason
		if t := time.Unix(said.Expires, 0).Add(MaxLeeway); t.Before(forget) {
			forget = t
		}
	}
	if !forget.After(now) {
		return
	}
	if old := r.tokens.get(id); old != nil {
		if old.forget >= forget.Unix() {
			return
		}
	} else {
		defer r.tell(TokenRevoked, e, reason)
	}
	token := &revokedToken{id, forget.Unix()}
	r.tokens.put(id, token)
	heap.Push(&r.byExpiry, token)
}

// forgetBefore drops what has expired. A token that was revoked twice is in the heap twice: the later one counts.
func (r *Revocations) forgetBefore(now time.Time) {
	for len(r.byExpiry) > 0 && r.byExpiry[0].forget < now.Unix() {
		token := heap.Pop(&r.byExpiry).(*revokedToken)
		if r.tokens.get(token.id) == token {
			r.tokens.delete(token.id)
		}
	}
}

func (r *Revocations) tell(event Event, e Entry, reason string) {
	if r.emit == nil {
		return
	}
	caller := e.Caller
	if caller == "" {
		caller = UnknownCaller
	}
	r.emit(Change{Event: event, Name: e.Name, Revision: e.Revision, Time: e.Time, Caller: caller, Reason: reason})
}

// expiryHeap has the token that is forgotten next on top.
type expiryHeap []*revokedToken

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].forget < h[j].forget }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(*revokedToken)) }
func (h *expiryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

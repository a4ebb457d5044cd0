package events

import "time"

// Event says what a change did.
type Event string

// The changes of a key set.
const (
	KeyRegistered  Event = "key registered"  // a key is trusted, or will be once its issuer is
	KeyScheduled   Event = "key scheduled"   // a key is known and will be trusted from its nbf on
	KeyRetired     Event = "key retired"     // a key has got an end, or an earlier one
	KeyWasRevoked  Event = "key revoked"     // a key is dead for ever
	KeyRemoved     Event = "key removed"     // a key is not known any more
	IssuerAdded    Event = "issuer added"    // an issuer is known
	IssuerChanged  Event = "issuer changed"  // what an issuer may do has changed
	IssuerDisabled Event = "issuer disabled" // an issuer's tokens are refused
	TokenRevoked   Event = "token revoked"   // one token is refused
	RecordRejected Event = "record rejected" // a message was malformed and changed nothing
)

// Change is one applied change.
type Change struct {
	Event    Event
	Name     string // of the record, as in the bucket
	Revision uint64
	Time     time.Time // the server's, of the message
	Caller   string    // who wrote it, or UnknownCaller, or UnseenCaller
	Reason   string    // of a revocation, a rejection or a removal, if there is one
}

package events

import "time"

// Entry is one message of a bucket, as a feed delivers it.
type Entry struct {
	Name     string    // the name within the bucket
	Value    []byte    // empty for a marker; not kept by who receives the entry
	Deleted  bool      // a delete or purge marker
	Revision uint64    // stream sequence
	Time     time.Time // the server's
	Caller   string    // who wrote it, if they said so (header Keyherald-Caller): information, not proof

	prepared *prepared // nil: it was not
}

func (e Entry) change(event Event, reason string) Change {
	return Change{Event: event, Name: e.Name, Revision: e.Revision, Time: e.Time, Caller: e.caller(), Reason: reason}
}

func (e Entry) rejected(err error) Rejected {
	return Rejected{Name: e.Name, Revision: e.Revision, Time: e.Time, Caller: e.caller(), Reason: err.Error()}
}

func (e Entry) caller() string {
	if e.Caller == "" {
		return UnknownCaller
	}
	return e.Caller
}

// UnknownCaller stands for the writer of an entry that does not say who wrote it, such as the nats command.
const UnknownCaller = "unknown (nats)"

// UnseenCaller stands for the writer of a change that was seen only by its effect, when a bucket was read again.
const UnseenCaller = "unknown (read again)"

// Rejected is a message that the fold did not take: its value was malformed, or its name unknown. What the name stood
// for before stays.
type Rejected struct {
	Name     string
	Revision uint64
	Time     time.Time
	Caller   string
	Reason   string // what was wrong and, where there is something to do, what
}

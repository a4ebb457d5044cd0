package events

import (
	"fmt"
	"strings"
)

// Apply folds one message into the set. Messages must come in the order of their revisions; one that is not newer than
// the last is ignored, so that delivering a message twice does no harm. It keeps nothing of e.Value.
func (s *Set) Apply(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Revision <= s.revision.Load() {
		return
	}
	name, err := ParseRecordName(e.Name)
	switch {
	case err != nil && e.Deleted: // somebody cleans up a name that never meant anything
		delete(s.rejected, e.Name)
	case err != nil && strings.HasPrefix(e.Name, "revoked."):
		s.reject(e, fmt.Errorf("no key was revoked: %w", err))
	case err != nil:
		s.reject(e, err)
	case name.Kind == KindIssuer:
		s.applyIssuer(name.Issuer, e)
	case name.Kind == KindKey:
		s.applyKey(keyRef{name.Issuer, name.KeyID}, e)
	case name.Kind == KindRevoked:
		s.applyRevoked(keyRef{name.Issuer, name.KeyID}, e)
	}
	s.latest.Store(e.Revision)
	s.revision.Store(e.Revision)
}

// LeaveOut is Apply for a message about an issuer of which the set is to know nothing: the set is complete up to it, without it.
func (s *Set) LeaveOut(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Revision > s.revision.Load() {
		s.revision.Store(e.Revision)
	}
}

func (s *Set) tell(event Event, e Entry, reason string) {
	switch event {
	case KeyScheduled, KeyRetired, KeyWasRevoked, KeyRemoved, IssuerChanged, IssuerDisabled:
		s.losses.Add(1)
	}
	if s.emit != nil {
		s.emit(e.change(event, reason))
	}
}

// tellOf is tell for a record that e changed without being a message on it.
func (s *Set) tellOf(name RecordName, event Event, e Entry, reason string) {
	e.Name = name.String()
	s.tell(event, e, reason)
}

func (s *Set) reject(e Entry, err error) {
	r := e.rejected(err)
	s.rejected[e.Name] = r
	s.tell(RecordRejected, e, r.Reason)
}

// pushedOut is why a good record is gone after History malformed ones: the bucket has dropped it, so a node that
// starts now does not find it.
const pushedOut = "the last valid revision was pushed out of the history by malformed ones"

package events

import (
	"reflect"
	"time"
)

// Diff tells emit what a reader of before sees change when it goes over to after: the changes that were missed while a
// feed was interrupted, each with the revision at which after has it (what is gone has after's own). Only the last state counts:
// of a key that came and went nothing is told. A revision alone says little: a bucket that was restored gives it twice. The cost is in the size of
// both sets.
func Diff(before, after *Set, emit func(Change)) {
	d := differ{before, after, emit}
	for e := range after.Issuers() {
		d.issuer(before.Issuer(e.Name), e)
	}
	for e := range before.Issuers() {
		if after.Issuer(e.Name) == nil {
			d.gone(IssuerDisabled, IssuerRecord(e.Name))
		}
	}
	for e := range after.AllKeys() {
		d.key(before.Key(e.Issuer, e.KeyID), e)
	}
	for e := range before.AllKeys() {
		if e.Record == nil {
			continue
		}
		if now := after.Key(e.Issuer, e.KeyID); now == nil || now.Record == nil {
			d.gone(KeyRemoved, KeyRecord(e.Issuer, e.KeyID))
		}
	}
	d.rejected()
}

type differ struct {
	before, after *Set
	emit          func(Change)
}

// tell completes a change. The sets do not keep who wrote a record.
func (d differ) tell(c Change) {
	c.Caller = UnseenCaller
	if c.Time.IsZero() {
		c.Time = time.Now()
	}
	d.emit(c)
}

func (d differ) gone(event Event, name RecordName) {
	d.tell(Change{Event: event, Name: name.String(), Revision: d.after.Revision(), Reason: "not in the bucket any more"})
}

func (d differ) issuer(old, e *IssuerEntry) {
	if old != nil && old.Revision == e.Revision && reflect.DeepEqual(old.Record, e.Record) && d.before.contested(old) == d.after.contested(e) {
		return
	}
	event, reason := d.after.issuerEvent(e, old == nil)
	d.tell(Change{Event: event, Name: IssuerRecord(e.Name).String(), Revision: e.Revision, Reason: reason})
}

func (d differ) key(old, e *KeyEntry) {
	if old == nil {
		old = new(KeyEntry)
	}
	if e.RevokedBy != 0 && old.RevokedBy == 0 {
		d.tell(Change{Event: KeyWasRevoked, Name: RevokedRecord(e.Issuer, e.KeyID).String(), Revision: e.RevokedBy, Reason: e.Reason.Reason})
	}
	if e.Record == nil || old.Record != nil && old.Revision == e.Revision && reflect.DeepEqual(old.Record, e.Record) {
		return
	}
	at := time.Unix(e.Modified, 0)
	event, reason := keyEvent(old.Record, e, at)
	d.tell(Change{Event: event, Name: KeyRecord(e.Issuer, e.KeyID).String(), Revision: e.Revision, Time: at, Reason: reason})
}

func (d differ) rejected() {
	seen := map[string]uint64{}
	for _, r := range d.before.Rejected() {
		seen[r.Name] = r.Revision
	}
	for _, r := range d.after.Rejected() {
		if seen[r.Name] != r.Revision {
			d.emit(Change{Event: RecordRejected, Name: r.Name, Revision: r.Revision, Time: r.Time, Caller: r.Caller, Reason: r.Reason})
		}
	}
}

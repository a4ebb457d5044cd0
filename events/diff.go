package events

import "time"

// Diff tells emit what a reader of before sees change when it goes over to after: the changes that were missed while a
// feed was interrupted, each with the revision at which after has it (what is gone has after's own). Its cost is in the size of both sets.
func Diff(before, after *Set, emit func(Change)) {
	gone := func(event Event, name RecordName) {
		emit(Change{Event: event, Name: name.String(), Revision: after.Revision(), Time: time.Now(), Caller: UnknownCaller,
			Reason: "not in the bucket any more"})
	}
	for e := range after.Issuers() {
		old := before.Issuer(e.Name)
		if old != nil && old.Revision == e.Revision {
			continue
		}
		event := IssuerChanged
		switch {
		case e.Record.Status == Disabled:
			event = IssuerDisabled
		case old == nil:
			event = IssuerAdded
		}
		emit(Change{Event: event, Name: IssuerRecord(e.Name).String(), Revision: e.Revision, Time: time.Now(), Caller: UnknownCaller})
	}
	for e := range before.Issuers() {
		if after.Issuer(e.Name) == nil {
			gone(IssuerDisabled, IssuerRecord(e.Name))
		}
	}
	for e := range after.AllKeys() {
		diffKey(before.Key(e.Issuer, e.KeyID), e, emit)
	}
	for e := range before.AllKeys() {
		if e.Record == nil {
			continue
		}
		if now := after.Key(e.Issuer, e.KeyID); now == nil || now.Record == nil {
			gone(KeyRemoved, KeyRecord(e.Issuer, e.KeyID))
		}
	}
}

func diffKey(old, e *KeyEntry, emit func(Change)) {
	if e.RevokedBy != 0 && (old == nil || old.RevokedBy == 0) {
		c := Change{Event: KeyWasRevoked, Name: RevokedRecord(e.Issuer, e.KeyID).String(), Revision: e.RevokedBy, Time: time.Now(), Caller: UnknownCaller}
		if e.Reason != nil {
			c.Reason = e.Reason.Reason
		}
		emit(c)
	}
	if e.Record == nil || old != nil && old.Record != nil && old.Revision == e.Revision {
		return
	}
	var record *Key
	if old != nil {
		record = old.Record
	}
	at := time.Unix(e.Modified, 0)
	emit(Change{Event: keyEvent(record, e.Record, at), Name: KeyRecord(e.Issuer, e.KeyID).String(), Revision: e.Revision, Time: at, Caller: UnknownCaller})
}

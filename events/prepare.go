package events

// prepared is what the value of an entry was read as.
type prepared struct {
	issuer *Issuer
	key    *Key
	err    error
}

// Prepare reads and checks the record in e ahead of [Set.Apply], for which that is most of the work. Whoever brings many entries calls it
// on another goroutine while those before are applied. It is for entries of KEYS, and makes no difference to what Apply does;
// neither Name nor Value may change after it.
func (e *Entry) Prepare() {
	name, err := ParseRecordName(e.Name)
	if err != nil || e.Deleted {
		return
	}
	switch name.Kind {
	case KindIssuer:
		p := new(prepared)
		p.issuer, p.err = ParseIssuer(e.Value)
		e.prepared = p
	case KindKey:
		p := new(prepared)
		p.key, p.err = ParseKey(name.KeyID, e.Value)
		e.prepared = p
	}
}

// issuer is the issuer record in e.
func (e *Entry) issuer() (*Issuer, error) {
	if p := e.prepared; p != nil {
		return p.issuer, p.err
	}
	return ParseIssuer(e.Value)
}

// key is the key record in e, which is about to replace before; see parseKey.
func (e *Entry) key(kid KeyID, before *Key) (*Key, error) {
	if p := e.prepared; p != nil {
		return p.key, p.err
	}
	return parseKey(kid, e.Value, before)
}

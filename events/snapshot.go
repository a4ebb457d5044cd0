package events

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Snapshot is what two buckets were at one time: enough to judge tokens when they cannot be reached.
//
// A set that is read back says the same as the one that was written, and goes on the same: also how many malformed messages have
// followed a record is kept. Records are read by the functions that read those in the bucket. What a snapshot says is
// believed: whoever can write one can add keys, and who can put an old one in its place takes back what was revoked since.
//
// # Format
//
// Version 1 is the text "keyherald snapshot 1\n", a body, and the SHA-256 of both. In the body, a number is a varint of
// package encoding/binary (unsigned, but for times), and a text is the number of its bytes and these.
//
//	time      Unix seconds at which both sets were confirmed; zero: never
//	issuers   number, then texts: the names of the issuers that were followed, in order. None: all
//	keys      revision of the set, then a number of records, in the order of their kinds, issuers and kids:
//	          revision, time (Unix seconds: of a key's record, the server's; of a revoked key, when it was revoked; of an
//	          issuer, zero), malformed messages since, name (text), JSON (text; of a revoked key without revoked_at)
//	rejected  a number of messages, in the order of their names: name (text), revision, server time (Unix seconds, then
//	          nanoseconds), caller (text), reason (text)
//	tokens    revision of the set, then a number of revoked tokens, in the order of their names: name (text), when to forget it
//	          (Unix seconds)
type Snapshot struct {
	Confirmed   time.Time // when both were last known to be complete; zero: never
	Issuers     []Name    // whose records were followed, in order; none: those of all
	Keys        *Set
	Revocations *Revocations

	// Unreadable is told of a record that would not be read back, and why. Of such a one only that a key is revoked is written: it must
	// not take the others with it. Nil: nobody is told.
	Unreadable func(name string, err error)
}

const (
	// snapshotKind begins the file whatever its version.
	snapshotKind  = "keyherald snapshot "
	snapshotMagic = snapshotKind + "1\n"
)

// Digest is the SHA-256 at the end of a snapshot: it stands for everything in it.
type Digest [sha256.Size]byte

// Encode writes the snapshot. The sets may be changed meanwhile: each is written as it was at one moment. Its writer
// waits while pointers are copied, and not while they are written.
func (s *Snapshot) Encode(w io.Writer) (Digest, error) {
	sum := sha256.New()
	out := &snapshotWriter{w: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)}
	out.raw(snapshotMagic)
	confirmed := int64(0)
	if !s.Confirmed.IsZero() {
		confirmed = s.Confirmed.Unix()
	}
	out.time(confirmed)
	out.number(uint64(len(s.Issuers)))
	for _, name := range s.Issuers {
		out.text(string(name))
	}
	out.keys(s)
	out.tokens(s.Revocations)
	if err := out.w.Flush(); err != nil { // and with it every error before
		return Digest{}, err
	}
	digest := Digest(sum.Sum(nil))
	_, err := w.Write(digest[:])
	return digest, err
}

// The errors of a snapshot that cannot be used.
var (
	ErrSnapshotVersion = errors.New("a snapshot of another version of keyherald")
	ErrSnapshotDamaged = errors.New("the snapshot is damaged")
)

// DecodeSnapshot reads a snapshot. It takes all of it or nothing: the error is one of [ErrSnapshotVersion] and [ErrSnapshotDamaged].
func DecodeSnapshot(data []byte) (*Snapshot, Digest, error) {
	if len(data) < len(snapshotMagic)+sha256.Size || string(data[:len(snapshotKind)]) != snapshotKind {
		return nil, Digest{}, fmt.Errorf("%w: cut off, or no snapshot", ErrSnapshotDamaged)
	}
	if string(data[:len(snapshotMagic)]) != snapshotMagic {
		return nil, Digest{}, fmt.Errorf("%w: %s", ErrSnapshotVersion, quote(string(data[len(snapshotKind):len(snapshotMagic)])))
	}
	body, end := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if sha256.Sum256(body) != Digest(end) {
		return nil, Digest{}, fmt.Errorf("%w: cut off, or its SHA-256 is wrong", ErrSnapshotDamaged)
	}
	in := &snapshotReader{rest: body[len(snapshotMagic):]}
	s := &Snapshot{}
	if at := in.time(); at != 0 {
		s.Confirmed = time.Unix(at, 0)
	}
	for before := ""; in.next(); {
		before = in.nameAfter(before)
		name, err := ParseName(before)
		in.check(err)
		s.Issuers = append(s.Issuers, name)
	}
	s.Keys, s.Revocations = in.keys(), in.tokens()
	if len(in.rest) > 0 {
		in.check(errors.New("there is more than belongs to it"))
	}
	if in.err != nil {
		return nil, Digest{}, fmt.Errorf("%w: %w", ErrSnapshotDamaged, in.err)
	}
	return s, Digest(end), nil
}

// snapshotRecord is one record of a set, with what the fold must know of it to go on.
type snapshotRecord struct {
	name      RecordName
	revision  uint64
	time      int64
	malformed uint8
	value     snapshotValue
}

type snapshotValue interface {
	writeSnapshot(*builder)
	unknown() Extra
}

// records are the records of the set, in order.
func (h *holding) records() []snapshotRecord {
	records := make([]snapshotRecord, 0, len(h.issuers)+len(h.keys))
	for _, r := range h.issuers {
		records = append(records, snapshotRecord{IssuerRecord(r.entry.Name), r.entry.Revision, 0, r.malformed, r.entry.Record})
	}
	for _, r := range h.keys {
		e := r.entry
		if e.Record != nil {
			records = append(records, snapshotRecord{KeyRecord(e.Issuer, e.KeyID), e.Revision, e.Modified, r.malformed, e.Record})
		}
		if e.RevokedBy != 0 {
			records = append(records, snapshotRecord{RevokedRecord(e.Issuer, e.KeyID), e.RevokedBy, e.Reason.RevokedAt, 0, e.Reason})
		}
	}
	slices.SortFunc(records, func(a, b snapshotRecord) int { return a.name.compare(b.name) })
	return slices.CompactFunc(records, func(a, b snapshotRecord) bool { return a.name == b.name })
}

// unreadable says why the record would not be read as it would be written. Only members of newer versions can be the cause: they are
// written as they came, and everything else in a form that is made here.
func (r *snapshotRecord) unreadable() error {
	if len(r.value.unknown()) == 0 {
		return nil
	}
	var b builder
	r.value.writeSnapshot(&b)
	return (&readRecord{name: r.name, value: b.object(), revision: r.revision, time: r.time, malformed: uint64(r.malformed)}).parse()
}

// readable returns the records that will be read, and tells of others: one of them would take all with it. A key or an issuer is left
// out then, as one that is not known yet. That a key is revoked stays, without what was said about it.
func (s *Snapshot) readable(records []snapshotRecord) []snapshotRecord {
	kept := records[:0]
	for _, r := range records {
		if err := r.unreadable(); err != nil {
			if s.Unreadable != nil {
				s.Unreadable(r.name.String(), err)
			}
			if r.name.Kind != KindRevoked {
				continue
			}
			r.value = &KeyRevocation{}
		}
		kept = append(kept, r)
	}
	return kept
}

func (r *Issuer) writeSnapshot(b *builder) { r.write(b) }
func (r *Issuer) unknown() Extra           { return r.Extra }

func (k *Key) writeSnapshot(b *builder) { k.writeCompact(b) }

func (k *Key) unknown() Extra {
	if k.Revoked != nil && k.Extra == nil {
		return k.Revoked.Extra
	}
	return k.Extra
}

// writeSnapshot leaves out the time: it may be that of the message, for which the record need not have room.
func (r *KeyRevocation) writeSnapshot(b *builder) { r.writeReason(b) }
func (r *KeyRevocation) unknown() Extra           { return r.Extra }

// readRecord is one record of a snapshot.
type readRecord struct {
	name      RecordName
	value     []byte
	revision  uint64
	time      int64
	malformed uint64

	issuer *Issuer
	key    *Key
	said   *KeyRevocation
}

// parse reads what is in the record, as the fold does.
func (r *readRecord) parse() (err error) {
	if r.revision == 0 || r.malformed >= History {
		return errors.New("a record without a revision, or one that was pushed out")
	}
	switch r.name.Kind {
	case KindIssuer:
		if r.issuer, err = ParseIssuer(r.value); err == nil {
			err = checkTypeOfName(r.name.Issuer, r.issuer.Type)
		}
	case KindKey:
		r.key, err = ParseKey(r.name.KeyID, r.value)
	case KindRevoked:
		if r.said, err = parseKeyRevocation(r.value); err == nil {
			r.said.RevokedAt = r.time
		}
	}
	return err
}

// parseAll reads all records, on as many processors as there are: a service waits for it, and the check of an Ed25519 key is as much
// as a tenth of a verification.
func parseAll(records []readRecord) error {
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var running sync.WaitGroup
	for w := range workers {
		part := records[len(records)*w/workers : len(records)*(w+1)/workers]
		running.Go(func() {
			for i := range part {
				if errs[w] = part[i].parse(); errs[w] != nil {
					return
				}
			}
		})
	}
	running.Wait()
	return cmp.Or(errs...)
}

// restore takes a record into a set that is being made.
func (s *Set) restore(r *readRecord) {
	ref, e := keyRef{r.name.Issuer, r.name.KeyID}, Entry{Revision: r.revision, Time: time.Unix(r.time, 0)}
	switch {
	case r.issuer != nil:
		slot := s.issuerSlot(ref.issuer)
		s.setIssuer(slot, &IssuerEntry{Record: r.issuer, Revision: r.revision}, e)
		slot.malformed = uint8(r.malformed)
	case r.key != nil:
		s.setKey(ref, s.keys.get(ref), r.key, e)
		s.keys.get(ref).malformed = uint8(r.malformed)
	default:
		s.revoke(ref, r.revision, r.said)
	}
}

func (out *snapshotWriter) keys(s *Snapshot) {
	held := s.Keys.hold()
	records := s.readable(held.records())
	slices.SortFunc(held.rejected, func(a, b Rejected) int { return cmp.Compare(a.Name, b.Name) })
	out.number(held.revision)
	out.number(uint64(len(records)))
	for _, r := range records {
		out.number(r.revision)
		out.time(r.time)
		out.number(uint64(r.malformed))
		out.text(r.name.String())
		out.record(r.value)
	}
	out.number(uint64(len(held.rejected)))
	for _, r := range held.rejected {
		out.text(r.Name)
		out.number(r.Revision)
		out.time(r.Time.Unix())
		out.number(uint64(r.Time.Nanosecond()))
		out.text(r.Caller)
		out.text(r.Reason)
	}
}

func (in *snapshotReader) keys() *Set {
	s := NewSet(nil)
	revision := in.number(math.MaxUint64)
	var records []readRecord
	for before := (RecordName{}); in.next(); {
		if records == nil {
			const likely = 64 // bytes of a record: a forged number of them does not make us take more memory than a few times the file's size
			records = make([]readRecord, 0, min(in.left+1, uint64(len(in.rest)/likely)))
		}
		r := readRecord{revision: in.number(math.MaxUint64), time: in.time(), malformed: in.number(History)}
		var err error
		if r.name, err = ParseRecordName(string(in.text())); err == nil && r.name.compare(before) <= 0 {
			err = errOrder
		}
		in.check(err)
		r.value = in.text()
		records, before = append(records, r), r.name
	}
	if in.err == nil {
		in.check(parseAll(records))
	}
	for i := range records {
		if in.err != nil {
			return s
		}
		s.restore(&records[i])
	}
	for before := ""; in.next(); {
		before = in.nameAfter(before)
		r := Rejected{Name: before, Revision: in.number(math.MaxUint64)}
		r.Time = time.Unix(in.time(), int64(in.number(uint64(time.Second)))).UTC()
		r.Caller, r.Reason = string(in.text()), string(in.text())
		s.rejected[r.Name] = r
	}
	s.revision.Store(revision)
	return s
}

// tokens writes the revoked tokens as they were, but that one which is revoked for longer meanwhile may be written so.
func (out *snapshotWriter) tokens(r *Revocations) {
	type token struct {
		name  string
		until int64
	}
	held, revision := r.hold()
	all := make([]token, 0, len(held))
	for _, e := range held {
		if until := r.tokens.get(e.id); until != nil { // else it was forgotten meanwhile
			all = append(all, token{e.id.String(), *until})
		}
	}
	slices.SortFunc(all, func(a, b token) int { return cmp.Compare(a.name, b.name) })
	out.number(revision)
	out.number(uint64(len(all)))
	for _, t := range all {
		out.text(t.name)
		out.time(t.until)
	}
}

func (in *snapshotReader) tokens() *Revocations {
	r := NewRevocations(nil)
	revision := in.number(math.MaxUint64)
	for before := ""; in.next(); {
		before = in.nameAfter(before)
		id, err := ParseTokenID(before)
		in.check(err)
		r.keep(id, in.time())
	}
	r.revision.Store(revision)
	return r
}

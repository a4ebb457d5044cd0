package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// rule says which of the messages on a name count, and what a restore may do to them.
type rule uint8

const (
	// ruleLeave: the name means nothing, or what it stands for comes back by itself. It is in the file and not restored, and what
	// the buckets have of it is left alone.
	ruleLeave rule = iota
	// ruleDeny: any message denies something for ever, or until the bucket forgets it. There is no message that takes it back.
	ruleDeny
	// ruleState: the last valid message is the state.
	ruleState
	// ruleAdd: a memory, to which is added what it does not have.
	ruleAdd
)

func ruleOf(b bus.Bucket, name string) rule {
	switch b {
	case bus.Keys:
		r, err := events.ParseRecordName(name)
		switch {
		case err != nil, r.Kind == events.KindKey && r.Issuer == events.Platform:
			return ruleLeave
		case r.Kind == events.KindRevoked:
			return ruleDeny
		}
		return ruleState
	case bus.Revocations:
		if _, err := events.ParseTokenID(name); err == nil {
			return ruleDeny
		}
	case bus.Clients:
		if _, err := events.ParseName(name); err == nil {
			return ruleState
		}
	case bus.Assertions:
		if _, err := events.ParseName(name); err == nil { // base64url of a SHA-256
			return ruleAdd
		}
	case bus.Usage:
		if isUsage(name) {
			return ruleAdd
		}
	}
	return ruleLeave
}

// isUsage reports whether a name of USAGE is that of the last use of a credential.
func isUsage(name string) bool {
	kind, rest, _ := strings.Cut(name, ".")
	switch events.UsageKind(kind) {
	case events.UsedSecret, events.UsedKey, events.UsedCertificate:
		_, err := events.ParseRecordName("key." + rest) // <client>.<credential>, as there
		return err == nil
	}
	return false
}

var errType = errors.New("the name platform, and only it, is for the type platform")

// check reads the value of a name of ruleState by the one function that is there for it.
func check(b bus.Bucket, e events.Entry) error {
	if b == bus.Clients {
		_, err := events.ParseClient(e.Value)
		return err
	}
	name, err := events.ParseRecordName(e.Name)
	if err != nil {
		return err
	}
	if name.Kind == events.KindKey {
		_, err = events.ParseKey(name.KeyID, e.Value)
		return err
	}
	record, err := events.ParseIssuer(e.Value)
	if err == nil && (name.Issuer == events.Platform) != (record.Type == events.TypePlatform) {
		err = errType
	}
	return err
}

// presence is what there is on a name.
type presence uint8

const (
	absent  presence = iota // nothing, or nothing that is valid
	marker                  // a delete marker
	present                 // a value
)

func presenceOf(e events.Entry) presence {
	if e.Deleted {
		return marker
	}
	return present
}

// item is a name: what the file has on it, and what the bucket has.
type item struct {
	offset int64 // in the file, of the message that counts
	sum    sum   // of that message
	saved  presence
	bad    uint8 // malformed messages since

	live     presence
	same     bool // the bucket has the value that the file has
	liveBad  uint8
	revision uint64 // of the last message in the bucket, valid or not; zero: there is none
	found    *found // what the bucket has, if that is not the same
}

// found is a message of a bucket.
type found struct {
	value []byte // of a marker: the value that it has removed, if that is known and was not the file's
	at    time.Time
	by    string
}

// digest tells messages with other content apart.
func digest(e events.Entry) sum {
	if e.Deleted {
		return sum{}
	}
	return sha256.Sum256(e.Value)
}

// take folds in a message of the file.
func (it *item) take(r rule, b bus.Bucket, e events.Entry, offset int64) {
	if r == ruleState && !e.Deleted && check(b, e) != nil {
		if it.bad++; it.bad >= events.History {
			it.saved = absent
		}
		return
	}
	it.offset, it.sum, it.saved, it.bad = offset, digest(e), presenceOf(e), 0
}

// reset forgets what the bucket had.
func (it *item) reset() {
	it.live, it.same, it.liveBad, it.revision, it.found = absent, false, 0, 0, nil
}

// isPushedOut reports whether malformed values have taken the place of what the bucket had, so that nobody can tell what that was.
func (it *item) isPushedOut() bool { return it.liveBad >= events.History }

// meet folds in a message of the bucket.
func (it *item) meet(r rule, b bus.Bucket, e events.Entry) {
	it.revision = e.Revision
	isSame := it.saved == presenceOf(e) && it.sum == digest(e)
	if r == ruleState && !e.Deleted && !isSame && check(b, e) != nil {
		if it.liveBad++; it.isPushedOut() {
			it.live, it.same, it.found = absent, false, &found{at: e.Time, by: e.Caller}
		}
		return
	}
	before := it.found
	it.live, it.same, it.liveBad, it.found = presenceOf(e), isSame, 0, nil
	if isSame || r == ruleAdd {
		return
	}
	it.found = &found{at: e.Time, by: e.Caller}
	switch {
	case !e.Deleted:
		it.found.value = bytes.Clone(e.Value)
	case before != nil:
		it.found.value = before.value
	}
}

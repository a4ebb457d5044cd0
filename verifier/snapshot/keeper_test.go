package snapshot

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/eventstest"
)

// desk is a keeper at work, on the bubble's clock. The bucket is confirmed to be complete all the time.
type desk struct {
	*bucket
	t         *testing.T
	k         *keeper
	log       eventstest.Log
	confirmed time.Duration // by how much later than now
}

func newDesk(t *testing.T) *desk {
	d := &desk{bucket: newBucket(), t: t}
	d.k = &keeper{file: newFile(t), log: zerolog.New(&d.log)}
	d.k.now(d.at(time.Now()))
	return d
}

// pass lets time pass, with the looks that a set takes.
func (d *desk) pass(by time.Duration) {
	for range by / look {
		time.Sleep(look)
		d.k.look(d.at(time.Now().Add(d.confirmed)))
	}
}

// disk is what a start would find.
func (d *desk) disk() *events.Snapshot {
	d.t.Helper()
	s, _, err := d.k.file.read()
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// wait returns how long it takes until the disk has it.
func (d *desk) wait(has func(*events.Snapshot) bool) time.Duration {
	d.t.Helper()
	for began := time.Now(); ; d.pass(look) {
		waited := time.Since(began)
		if has(d.disk()) {
			return waited
		}
		if waited > time.Hour {
			d.t.Fatal("not within an hour")
		}
	}
}

func hasKey(kid events.KeyID) func(*events.Snapshot) bool {
	return func(s *events.Snapshot) bool { return s.Keys.Key("orders", kid) != nil }
}

// losses are the changes that take trust away, each from a key or issuer that is active.
var losses = []struct {
	name        string
	record, new string // new is empty for a delete marker
	has         func(*events.Snapshot) bool
}{
	{"a revoked key", "revoked.orders.k1", "{}", func(s *events.Snapshot) bool { return state(s) == events.KeyRevoked }},
	{"a key whose record says revoked", "key.orders.k1", eventstest.KeyJSON(1, `"revoked":{"reason":"leaked"}`),
		func(s *events.Snapshot) bool { return state(s) == events.KeyRevoked }},
	{"a deleted key", "key.orders.k1", "", func(s *events.Snapshot) bool { return s.Keys.Key("orders", "k1") == nil }},
	{"a retired key", "key.orders.k1", eventstest.KeyJSON(1, `"exp":4102444800`), func(s *events.Snapshot) bool { return state(s) == events.KeyRetiring }},
	{"a key that is put off", "key.orders.k1", eventstest.KeyJSON(1, `"nbf":4102444800`),
		func(s *events.Snapshot) bool { return state(s) == events.KeyPending }},
	{"another key of the same kid", "key.orders.k1", eventstest.KeyJSON(2), func(s *events.Snapshot) bool { return s.Keys.Key("orders", "k1").Revision > 3 }},
	{"a disabled issuer", "issuer.orders", `{"type":"client","status":"disabled"}`,
		func(s *events.Snapshot) bool { return s.Keys.Issuer("orders").Record.Status == events.Disabled }},
	{"a not_before", "issuer.orders", `{"type":"client","status":"active","not_before":5}`,
		func(s *events.Snapshot) bool { return s.Keys.Issuer("orders").Record.NotBefore == 5 }},
	{"a deleted issuer", "issuer.orders", "", func(s *events.Snapshot) bool { return s.Keys.Issuer("orders") == nil }},
}

func state(s *events.Snapshot) events.KeyState { return s.Keys.Key("orders", "k1").State(time.Now()) }

// waits are how long a change waits, by how long it took to write the set the last time.
var waits = []struct{ took, loss, other time.Duration }{
	{0, soon, soon},
	{200 * time.Millisecond, soon, soon},
	{quick, soon, laterShare * quick},
	{600 * time.Millisecond, soonShare * 600 * time.Millisecond, laterShare * 600 * time.Millisecond},
	{4 * time.Second, soonShare * 4 * time.Second, laterShare * 4 * time.Second},
}

func TestWhatTakesTrustAwayIsWrittenSoon(t *testing.T) {
	for _, c := range losses {
		for _, w := range waits {
			t.Run(fmt.Sprint(c.name, " ", w.took), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDesk(t)
					d.k.took = w.took
					d.put("key.shipping.k1", eventstest.KeyJSON(3)) // and waits, too
					if c.new == "" {
						d.delete(c.record)
					} else {
						d.put(c.record, c.new)
					}
					if got := d.wait(c.has); got > w.loss+look {
						t.Errorf("on the disk after %s", got)
					}
				})
			})
		}
	}
}

func TestARevokedTokenIsWrittenSoon(t *testing.T) {
	for _, w := range waits {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.k.took = w.took
			d.revokeToken("t2")
			if got := d.wait(func(s *events.Snapshot) bool { return s.Revocations.Len() == 2 }); got > w.loss+look {
				t.Errorf("if it takes %s to write, a revoked token is on the disk after %s", w.took, got)
			}
		})
	}
}

// What only adds trust is written soon if that costs little. A key is in use again with its next message if it is missing.
func TestOtherChangesWaitIfTheSetIsLarge(t *testing.T) {
	for _, w := range waits {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.k.took = w.took
			d.put("key.orders.k2", eventstest.KeyJSON(2))
			if got := d.wait(hasKey("k2")); got < w.other-look || got > w.other+look {
				t.Errorf("if it takes %s to write, a key is on the disk after %s, want %s", w.took, got, w.other)
			}
		})
	}
}

func TestChangesThatGoOnAreNotWrittenAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		if got := d.wait(hasKey("k1")); got != 0 {
			t.Errorf("what there is when it begins is written after %s", got)
		}
		writes, digest := 0, d.k.digest
		for i := range 600 {
			d.put("key.orders.k5", eventstest.KeyJSON(5, fmt.Sprintf(`"iat":%d`, i+1)))
			d.pass(look)
			if d.k.digest != digest {
				writes, digest = writes+1, d.k.digest
			}
		}
		if most := int(600 * look / soon); writes > most+1 || writes < most-1 {
			t.Errorf("%d writes in %s of changes", writes, 600*look)
		}
		d.pass(time.Hour)
		d.put("key.orders.k3", eventstest.KeyJSON(3))
		if got := d.wait(hasKey("k3")); got > soon+look {
			t.Errorf("after a while without any, a key is written after %s", got)
		}
	})
}

// That nothing has changed is noted without writing everything again.
func TestFreshnessIsKeptWithoutWritingTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		before, err := os.Stat(d.k.file.path)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			d.pass(20 * time.Second)
			if age := time.Since(d.disk().Confirmed); age > refresh+time.Second {
				t.Fatalf("the disk says that the set was confirmed %s ago", age)
			}
		}
		after, err := os.Stat(d.k.file.path)
		if err != nil || !os.SameFile(before, after) {
			t.Errorf("the snapshot was written again, %v", err)
		}
		d.pass(10 * time.Second)
		d.k.now(d.at(time.Now())) // as it is closed
		if age := time.Since(d.disk().Confirmed); age >= time.Second {
			t.Errorf("at the end the disk says that the set was confirmed %s ago", age)
		}
	})
}

// What was confirmed is what is on the disk, and not what has come in since.
func TestAConfirmationIsNotNotedForWhatIsNotOnTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.k.took = time.Minute // so that the change has to wait
		d.put("key.orders.k2", eventstest.KeyJSON(2))
		changed := time.Now()
		d.wait(func(s *events.Snapshot) bool {
			if s.Confirmed.After(changed) && !hasKey("k2")(s) {
				t.Fatal("a set without the key is said to be complete as of a time after it")
			}
			return hasKey("k2")(s)
		})
	})
}

// When the clock on the wall was set back, the disk must not go on saying that the set was confirmed in the future.
func TestATimeFromTheFutureIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.pass(5 * time.Minute)
		d.confirmed = -time.Hour
		d.pass(2 * later)
		if ahead := d.disk().Confirmed.Sub(time.Now().Add(-time.Hour)); ahead > time.Second {
			t.Errorf("the disk says that the set was confirmed %s from now", ahead)
		}
	})
}

func TestNothingIsWrittenThatWasNeverComplete(t *testing.T) {
	k := keeper{file: newFile(t)}
	b := newBucket()
	k.now(b.at(time.Time{}))
	k.look(b.at(time.Time{}))
	if got := files(t, k.file); got != "" {
		t.Errorf("files: %q", got)
	}
}

// A full disk is not tried all the time, whatever is urgent; but once more when the set is closed.
func TestADiskThatFailsIsTriedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		path := d.k.file.path
		d.k.file.path = path + "/nowhere" // below a file
		var gaps []time.Duration
		for last := d.k.at; len(gaps) < 9; d.pass(look) {
			d.revokeToken(fmt.Sprint("t", d.tokens.Len()+1))
			if d.k.at != last {
				gaps, last = append(gaps, d.k.at.Sub(last)), d.k.at
			}
		}
		want := firstPause
		for i, gap := range gaps[1:] {
			if gap < want || gap > want+look {
				t.Errorf("try %d is %s after the one before, want %s", i+2, gap, want)
			}
			want = min(2*want, lastPause)
		}
		d.k.file.path = path
		d.k.now(d.at(time.Now())) // as it is closed
		if d.disk().Revocations.Len() != d.tokens.Len() {
			t.Error("what was revoked meanwhile is not on the disk")
		}
		d.revokeToken("last")
		if got := d.wait(func(s *events.Snapshot) bool { return s.Revocations.Len() == d.tokens.Len() }); got > soon+look {
			t.Errorf("once the disk works again, a revoked token is written after %s", got)
		}
	})
}

// A record that is left out is reported when that begins, and not each time.
func TestARecordThatIsLeftOutIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.keys.Issuer("orders").Record.Extra = events.Extra{"type": []byte("1")}
		for i := range 5 {
			d.put("key.orders.k2", eventstest.KeyJSON(2, fmt.Sprintf(`"iat":%d`, i+1)))
			d.pass(2 * soon)
		}
		if d.disk().Keys.Issuer("orders") != nil || !hasKey("k2")(d.disk()) {
			t.Error("other records are left out than the one that cannot be read")
		}
		if got := strings.Count(d.log.String(), "left out"); got != 1 || !strings.Contains(d.log.String(), "issuer.orders") {
			t.Errorf("reported %d times:\n%s", got, d.log.String())
		}
	})
}

func TestADiskThatFailsIsReportedOnceUntilItWorksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		path := d.k.file.path
		for range 2 {
			d.k.file.path = path + "/nowhere" // below a file
			for i := range 5 {
				d.put("revoked.orders.k"+fmt.Sprint(d.keys.Revoked(), i), "")
				d.pass(time.Minute)
			}
			if got := strings.Count(d.log.String(), "cannot be written"); got != 1 {
				t.Fatalf("the failure is reported %d times", got)
			}
			d.k.file.path = path
			d.pass(time.Minute)
			if got := strings.Count(d.log.String(), "written again"); got != 1 {
				t.Fatalf("that it works again is reported %d times", got)
			}
			if d.disk().Keys.Revoked() != d.keys.Revoked() {
				t.Error("what was revoked meanwhile is not on the disk")
			}
			d.log.Reset()
		}
	})
}

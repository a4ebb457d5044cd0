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

func TestChangesAreWrittenSoonEnoughAndNotTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		if got := d.wait(hasKey("k1")); got != 0 {
			t.Errorf("what there is when it begins is written after %s", got)
		}
		d.put("key.orders.k2", eventstest.KeyJSON(2))
		if got := d.wait(hasKey("k2")); got != later {
			t.Errorf("a key is written after %s", got)
		}
		d.pass(time.Hour)
		d.put("key.orders.k3", eventstest.KeyJSON(3))
		if got := d.wait(hasKey("k3")); got > refresh+look {
			t.Errorf("after a while without any, a key is written after %s", got)
		}
		d.put("key.orders.k4", eventstest.KeyJSON(4))
		d.pass(soon)
		d.put("revoked.orders.k1", "")
		if got := d.wait(func(s *events.Snapshot) bool { return s.Keys.Revoked() == 1 }); got > soon {
			t.Errorf("a revoked key is written after %s", got)
		}
		d.revokeToken("t2")
		if got := d.wait(func(s *events.Snapshot) bool { return s.Revocations.Len() == 2 }); got > soon {
			t.Errorf("a revoked token is written after %s", got)
		}
		writes := 0
		var digest events.Digest
		for i := range 600 {
			d.put("key.orders.k5", eventstest.KeyJSON(5, fmt.Sprintf(`"iat":%d`, i+1)))
			d.pass(look)
			if d.k.digest != digest {
				writes, digest = writes+1, d.k.digest
			}
		}
		if most := int(600 * look / later); writes > most+1 || writes < most-1 {
			t.Errorf("%d writes in %s of changes", writes, 600*look)
		}
	})
}

func TestALargeSetIsWrittenLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.k.took = 4 * time.Second
		d.put("key.orders.k2", eventstest.KeyJSON(2))
		if got := d.wait(hasKey("k2")); got != laterShare*4*time.Second {
			t.Errorf("a key is written after %s", got)
		}
		d.k.took = 4 * time.Second
		d.put("revoked.orders.k1", "")
		if got := d.wait(func(s *events.Snapshot) bool { return s.Keys.Revoked() == 1 }); got != soonShare*4*time.Second {
			t.Errorf("a revoked key is written after %s", got)
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

package snapshot

import (
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
)

const (
	// look is how often to look for what has changed: that costs a few loads.
	look = 500 * time.Millisecond
	// soon and later are how long after the last time a change is written: one that takes trust away, and any other. A large
	// set takes its time to be written: then there is so many times more between two. What is written in less than quick is written soon,
	// whatever has changed.
	soon, soonShare   = time.Second, 4
	later, laterShare = 10 * time.Second, 50
	quick             = 250 * time.Millisecond
	// refresh is how often it is noted that nothing has changed.
	refresh = time.Minute
	// firstPause and lastPause are the waits after writing has failed: each time it is twice as long. A full disk gets no fuller by that,
	// and whatever is urgent cannot be written anyway.
	firstPause, lastPause = 2 * time.Second, time.Minute
)

// keeper decides when to write what. It belongs to one goroutine at a time.
type keeper struct {
	file file
	log  zerolog.Logger

	written   version       // what is on the disk
	digest    events.Digest // of it; zero: there is nothing
	confirmed time.Time     // as it is on the disk, by the clock on the wall
	at        time.Time     // when something was last written, or could not be
	took      time.Duration // to write all of it
	pause     time.Duration // after the last time, which failed; zero: it did not
	left      []string      // names of records that were left out, the last time
}

// version tells one state of a set from others.
type version struct {
	keys   *events.Set
	losses uint64
	rev    [2]uint64
	tokens int
}

func versionOf(s *events.Snapshot) version {
	return version{s.Keys, s.Keys.Losses(), [2]uint64{s.Keys.Latest(), s.Revocations.Revision()}, s.Revocations.Len()}
}

// wrote notes what is on the disk.
func (k *keeper) wrote(v version, digest events.Digest, confirmed time.Time) {
	k.written, k.digest, k.confirmed = v, digest, confirmed.Round(0)
}

// look writes what has waited long enough. When a clock was set back, what is on the disk is from the future: that is written anew, too.
func (k *keeper) look(s *events.Snapshot) {
	v := versionOf(s) // read before it is written: what comes in between is written once more
	since := time.Since(k.at)
	newer := s.Confirmed.Round(0).Sub(k.confirmed)
	switch {
	case since < k.pause:
	case v == k.written && newer > -refresh && newer < refresh:
	case v == k.written && newer > 0:
		if since >= later {
			k.confirm(s)
		}
	case k.urgent(v) && since >= max(soon, soonShare*k.took), since >= max(later, laterShare*k.took):
		k.write(s, v)
	}
}

// urgent reports whether what has changed since the last time is to be written soon: if trust was taken away, or if it costs little.
func (k *keeper) urgent(v version) bool {
	return k.took < quick || v.keys != k.written.keys || v.losses != k.written.losses || v.rev[1] != k.written.rev[1] || v.tokens > k.written.tokens
}

// now writes what there is.
func (k *keeper) now(s *events.Snapshot) {
	if v := versionOf(s); v != k.written {
		k.write(s, v)
	} else if s.Confirmed.After(k.confirmed) {
		k.confirm(s)
	}
}

func (k *keeper) write(s *events.Snapshot, v version) {
	if s.Confirmed.IsZero() {
		return // nothing that was ever complete
	}
	var left []string
	s.Unreadable = func(name string, err error) {
		if left = append(left, name); !slices.Contains(k.left, name) {
			k.log.Warn().Err(err).Str("name", name).Msg("the record is left out of the snapshot: it could not be read back")
		}
	}
	k.at = time.Now()
	digest, err := k.file.write(s)
	k.took = time.Since(k.at)
	k.left = left
	if k.report(err) {
		k.wrote(v, digest, s.Confirmed)
	}
}

func (k *keeper) confirm(s *events.Snapshot) {
	k.at = time.Now()
	if k.report(k.file.confirm(k.digest, s.Confirmed)) {
		k.confirmed = s.Confirmed.Round(0)
	}
}

// report tells of the first failure, and of the first success after it.
func (k *keeper) report(err error) bool {
	switch failing := k.pause > 0; {
	case err == nil && failing:
		k.log.Info().Msg("the snapshot is written again")
		k.pause = 0
	case err != nil && !failing:
		k.log.Warn().Err(err).Msg("the snapshot cannot be written: a start without nats would be from an older one")
		k.pause = firstPause
	case err != nil:
		k.pause = min(2*k.pause, lastPause)
	}
	return err == nil
}

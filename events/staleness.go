package events

import "time"

// Staleness is the time since a confirmation: by the monotonic clock, which does not jump, or by the wall clock, which
// runs on while the machine sleeps, whichever is more. Without a confirmation it is the longest Duration, which is how Sub
// gives the years since the zero Time.
func Staleness(now, confirmed time.Time) time.Duration {
	return max(now.Sub(confirmed), now.Round(0).Sub(confirmed.Round(0)), 0)
}

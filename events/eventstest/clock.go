package eventstest

import (
	"testing"
	"time"
	"unsafe"
)

// StepWall moves the wall clock reading of a time, but not its monotonic one, as setting the clock does, or a machine that sleeps. Package time
// has no way to do that, so this reaches into the struct, and checks what it did.
func StepWall(t testing.TB, at time.Time, by time.Duration) time.Time {
	t.Helper()
	const secondsFrom = 30 // bit at which the seconds begin
	stepped := at
	(*struct{ wall uint64 })(unsafe.Pointer(&stepped)).wall += uint64(int64(by/time.Second)) << secondsFrom
	if stepped.Sub(at) != 0 || stepped.Round(0).Sub(at.Round(0)) != by {
		t.Fatalf("package time has changed: stepping the wall clock by %s gave %s and %s", by, stepped.Sub(at), stepped.Round(0).Sub(at.Round(0)))
	}
	return stepped
}

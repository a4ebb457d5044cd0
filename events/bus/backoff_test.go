package bus

import (
	"testing"
	"time"
)

func TestBackoffGrowsToItsLimit(t *testing.T) {
	least := func(time.Duration) time.Duration { return 0 }
	most := func(d time.Duration) time.Duration { return d - 1 }
	last := time.Duration(0)
	for attempt := range 100 {
		shortest, longest := backoff(attempt, firstRewatch, lastRewatch, least), backoff(attempt, firstRewatch, lastRewatch, most)
		if shortest < firstRewatch/2 || longest > lastRewatch || shortest >= longest {
			t.Fatalf("attempt %d waits for %s to %s", attempt, shortest, longest)
		}
		if shortest < last {
			t.Fatalf("attempt %d waits for %s, the one before for %s", attempt, shortest, last)
		}
		last = shortest
	}
	if last != lastRewatch/2 {
		t.Errorf("in the end it is %s", last)
	}
}

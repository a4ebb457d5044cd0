package eventstest_test

import (
	"testing"
	"testing/synctest"

	"github.com/keyherald/keyherald/events/eventstest"
)

func inMemory(t *testing.T, body func(*testing.T, eventstest.Bucket)) {
	synctest.Test(t, func(t *testing.T) { body(t, eventstest.NewStream()) })
}

func TestStreamIsASource(t *testing.T) { eventstest.TestSource(t, inMemory) }

func TestFeedOnAStream(t *testing.T) { eventstest.TestFeed(t, inMemory) }

package embedded_test

import (
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/embedded"
)

func TestN_ServerTellsWhetherEachWriteIsSynced(t *testing.T) {
	t.Parallel()
	if s := start(t, embedded.Config{}); !s.SyncAlways() {
		t.Error("writes are not synced")
	}
	if s := start(t, embedded.Config{SyncInterval: time.Minute}); s.SyncAlways() {
		t.Error("a server that syncs every minute says that it syncs each write")
	}
}

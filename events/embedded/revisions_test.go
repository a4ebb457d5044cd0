package embedded_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestF_AStartTellsThatRecordsAreLost: the NATS server does not. It cuts off what it cannot read, and makes a bucket again of which it finds nothing.
func TestF_AStartTellsThatRecordsAreLost(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, stream string)
		lost   bool
	}{
		"nothing was damaged": {func(*testing.T, string) {}, false},
		"a bit of the first record has flipped": {func(t *testing.T, stream string) {
			flip("msgs/1.blk")(t, stream)
			remove("msgs/index.db")(t, stream) // as after kill -9: else the record is just not read, which is for those to notice who read
		}, true},
		"what says that there is a bucket is empty": {truncate("meta.inf"), true},
		"the directory of the bucket is gone":       {remove(""), true},
		"what can be made again is damaged":         {flip("msgs/index.db"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log eventstest.Log
			cfg := embedded.Config{Dir: filepath.Join(t.TempDir(), "data"), Logger: zerolog.New(&log)}
			s := start(t, cfg)
			operator := connect(t, s, bus.Operator)
			for _, record := range []string{"key.orders.k1", "key.orders.k2", "key.orders.k3"} {
				operator.put(t, bus.Keys, record, "{}")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.damage(t, filepath.Join(cfg.Dir, "nats", "store", "jetstream", "KEYHERALD", "streams", bus.Keys.Stream()))
			for range 2 { // also at the next start
				log.Reset()
				s := start(t, cfg)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if told := strings.Contains(log.String(), "the bucket has lost what was written to it"); told != c.lost {
					t.Errorf("told: %v, want %v\n%s", told, c.lost, log.String())
				}
				if name != "a bit of the first record has flipped" {
					break // a bucket that was made again is another one, and has lost nothing
				}
			}
		})
	}
}

func change(name string, how func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, stream string) {
		content, err := os.ReadFile(filepath.Join(stream, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(stream, name), how(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func flip(name string) func(*testing.T, string) {
	return change(name, func(content []byte) []byte {
		content[len(content)/4] ^= 1
		return content
	})
}

func truncate(name string) func(*testing.T, string) {
	return change(name, func([]byte) []byte { return nil })
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, stream string) {
		if err := os.RemoveAll(filepath.Join(stream, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestF_ABucketThatIsMadeAgainWhileTheServerRunsIsNoLoss: whoever does that knows.
func TestF_ABucketThatIsMadeAgainWhileTheServerRunsIsNoLoss(t *testing.T) {
	t.Parallel()
	var log eventstest.Log
	n := eventstest.Server(t, func(cfg *embedded.Config) { cfg.Logger = zerolog.New(&log).Level(zerolog.WarnLevel) })
	n.Write(bus.Keys, "key.orders.k1", "{}")
	n.Recreate(bus.Keys)
	n.Stop()
	n.Start()
	if log.String() != "" {
		t.Error(log.String())
	}
}

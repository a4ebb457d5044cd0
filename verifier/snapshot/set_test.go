package snapshot_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier/snapshot"
)

// place is a server, and where its snapshot is.
type place struct {
	*eventstest.NATS
	t     *testing.T
	proxy *eventstest.Proxy // nil: there is none in between
	path  string
	log   eventstest.Log
}

func newPlace(t *testing.T) *place {
	p := &place{NATS: eventstest.Server(t), t: t, path: filepath.Join(t.TempDir(), "keys")}
	p.Write(bus.Keys, "issuer.orders", `{"type":"client","status":"active","aud":["https://billing"]}`)
	p.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
	return p
}

func (p *place) follow() *snapshot.Set {
	p.t.Helper()
	s, err := snapshot.Follow(p.t.Context(), p.config())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(s.Close)
	return s
}

func (p *place) config() snapshot.Config {
	url := p.URL()
	if p.proxy != nil {
		url = p.proxy.URL()
	}
	return snapshot.Config{Path: p.path, Bus: bus.Config{URL: url, SeedFile: p.KeyFile(bus.Verifier)}, Logger: zerolog.New(&p.log)}
}

// onDisk is what the file has, if there is one.
func (p *place) onDisk() *events.Snapshot {
	data, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return &events.Snapshot{Keys: events.NewSet(nil), Revocations: events.NewRevocations(nil)}
	}
	if err != nil {
		p.t.Fatal(err)
	}
	s, _, err := events.DecodeSnapshot(data)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// At no moment does a reader have less than the file had, or something that is called complete and is not.
func TestTheLiveSetTakesThePlaceOfTheFilesAtOneMoment(t *testing.T) {
	p := newPlace(t)
	p.proxy = eventstest.NewProxy(t, p.URL())
	p.follow().Close()
	p.proxy.Freeze() // a network that takes connections, and nothing comes
	began := time.Now()
	s := p.follow()
	if took := time.Since(began); took < time.Second || took > 20*time.Second {
		t.Errorf("a start without the server takes %s", took)
	}
	p.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
	begun := s.Confirmed()
	if begun.IsZero() || s.Keys().Revision() != 2 {
		t.Fatalf("confirmed %s, revision %d", begun, s.Keys().Revision())
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for last := begun; ; {
				confirmed := s.Confirmed()
				keys := s.Keys()
				if keys.Key("orders", "k1") == nil || keys.Issuer("orders") == nil || s.Revocations() == nil {
					t.Error("a reader has less than the file")
					return
				}
				if confirmed.After(begun) && keys.Key("orders", "k2") == nil {
					t.Error("the file's set is called as complete as the live one")
					return
				}
				if confirmed.Before(last) {
					t.Errorf("confirmed at %s, and then at %s", last, confirmed)
					return
				}
				last = confirmed
				select {
				case <-stop:
					return
				default:
					runtime.Gosched()
				}
			}
		})
	}
	p.proxy.Cut()
	p.proxy.Mend()
	eventstest.Eventually(t, "the live set is there", func() bool { return s.Keys().Key("orders", "k2") != nil })
	close(stop)
	readers.Wait()
}

func TestWhatIsRevokedIsOnTheDiskBeforeAnythingIsClosed(t *testing.T) {
	p := newPlace(t)
	p.follow()
	p.Write(bus.Keys, "revoked.orders.k1", "")
	eventstest.Eventually(t, "the revoked key is on the disk", func() bool { return p.onDisk().Keys.Revoked() == 1 })
	p.Write(bus.Revocations, events.TokenByID("i", "j").String(), "")
	eventstest.Eventually(t, "the revoked token is on the disk", func() bool { return p.onDisk().Revocations.Len() == 1 })
}

// A bucket that cannot be read does not keep what is seen revoked in the other one from the disk. All of it is as old as it was.
func TestWhatIsRevokedIsKeptWhileTheOtherBucketCannotBeRead(t *testing.T) {
	id := events.TokenByID("i", "j")
	for _, c := range []struct {
		refused, read bus.Bucket
		name          string
		revoked       func(*events.Snapshot) bool
	}{
		{bus.Keys, bus.Revocations, id.String(), func(s *events.Snapshot) bool { return s.Revocations.Revoked(id) }},
		{bus.Revocations, bus.Keys, "revoked.orders.k1", func(s *events.Snapshot) bool { return s.Keys.Revoked() == 1 }},
	} {
		for _, closed := range []bool{false, true} {
			p := newPlace(t)
			p.follow().Close()
			before := p.onDisk().Confirmed
			p.drop(c.refused)
			cfg := p.config()
			cfg.MinAge = time.Minute // as what is read from the file counts, but must not be written
			s, err := snapshot.Follow(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			p.Write(c.read, c.name, "")
			eventstest.Eventually(t, "it is seen", func() bool {
				return c.revoked(&events.Snapshot{Keys: s.Keys(), Revocations: s.Revocations()})
			})
			if closed {
				s.Close()
				if !c.revoked(p.onDisk()) {
					t.Errorf("without %s: what was seen revoked is not kept when the set is closed", c.refused)
				}
			} else {
				eventstest.Eventually(t, "it is on the disk", func() bool { return c.revoked(p.onDisk()) })
			}
			disk := p.onDisk()
			if !disk.Confirmed.Equal(before) {
				t.Errorf("without %s: the disk says that the set was confirmed at %s, and it was at %s", c.refused, disk.Confirmed, before)
			}
			if disk.Keys.Key("orders", "k1") == nil || disk.Keys.Issuer("orders") == nil {
				t.Errorf("without %s: the keys that it began with are lost", c.refused)
			}
			s.Close()
		}
	}
}

// drop removes a bucket, as an admin may by mistake: it cannot be read then.
func (p *place) drop(b bus.Bucket) {
	p.t.Helper()
	if err := p.Admin().DeleteStream(p.t.Context(), b.Stream()); err != nil {
		p.t.Fatal(err)
	}
}

// A file stands in for a server that is not there, and not for one that says no.
func TestACredentialThatIsRefusedEndsTheStartAlthoughThereIsAFile(t *testing.T) {
	p := newPlace(t)
	p.follow().Close()
	cfg := p.config()
	cfg.Bus.SeedFile = newPlace(t).KeyFile(bus.Verifier) // of another server
	if s, err := snapshot.Follow(t.Context(), cfg); !errors.Is(err, bus.ErrPermission) || s != nil {
		t.Errorf("error %v, want %v", err, bus.ErrPermission)
	}
	if p.onDisk().Keys.Key("orders", "k1") == nil {
		t.Error("the file is lost")
	}
}

func TestWhatIsTheMatterWithAFileIsLoggedOnce(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"damaged": func(path string) error { return os.Truncate(path, 50) },
		"mode":    func(path string) error { return os.Chmod(path, 0o666) },
	} {
		p := newPlace(t)
		p.follow().Close()
		if err := spoil(p.path); err != nil {
			t.Fatal(err)
		}
		p.log.Reset()
		s := p.follow()
		lines := 0
		for _, line := range p.log.Lines(t) {
			text, _ := line["error"].(string)
			if line["level"] == "warn" && line["snapshot"] == p.path && strings.Contains(text, what) {
				lines++
			}
		}
		if lines != 1 {
			t.Errorf("%s: %d lines in\n%s", what, lines, p.log.String())
		}
		s.Close()
		if p.onDisk().Keys.Key("orders", "k1") == nil {
			t.Error("the next good one has not taken its place")
		}
	}
}

func TestNothingRunsAfterClose(t *testing.T) {
	p := newPlace(t)
	s := p.follow()
	s.Close()
	s.Close()
	p.Stop()
	began := time.Now()
	s = p.follow() // from the file
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a start without the server takes %s", took)
	}
	s.Close()
	eventstest.Eventually(t, "nothing runs any more", func() bool { // a goroutine that has said that it is done has yet to end
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		return !strings.Contains(stacks, "verifier/snapshot.(") && !strings.Contains(stacks, "events/bus.(*Feed)")
	})
	if s.Keys().Key("orders", "k1") == nil {
		t.Error("a closed set cannot be read")
	}
}

package bus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

// admin runs a server with the buckets and connects as its admin.
func admin(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, err := bus.Connect(t.Context(), bus.Config{URL: s.URL(), SeedFile: s.KeyFile(bus.Admin)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn.JetStream()
}

func state(t *testing.T, js jetstream.JetStream, b bus.Bucket) jetstream.StreamState {
	t.Helper()
	stream, err := js.Stream(t.Context(), b.Stream())
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State
}

func TestBucketNames(t *testing.T) {
	want := []string{
		"KEYS KV_KEYS $KV.KEYS.a.b $KV.KEYS.>",
		"REVOCATIONS KV_REVOCATIONS $KV.REVOCATIONS.a.b $KV.REVOCATIONS.>",
		"CLIENTS KV_CLIENTS $KV.CLIENTS.a.b $KV.CLIENTS.>",
		"ASSERTIONS KV_ASSERTIONS $KV.ASSERTIONS.a.b $KV.ASSERTIONS.>",
		"USAGE KV_USAGE $KV.USAGE.a.b $KV.USAGE.>",
	}
	var have []string
	for _, b := range bus.Buckets() {
		have = append(have, fmt.Sprintf("%s %s %s %s", b, b.Stream(), b.Subject("a.b"), b.Filter()))
	}
	if !slices.Equal(have, want) {
		t.Errorf("buckets are %q", have)
	}
}

func TestN_StreamSettings(t *testing.T) {
	for bucket, own := range map[bus.Bucket]struct {
		history int64
		maxAge  time.Duration
		ttl     bool
	}{
		bus.Keys:        {16, 0, true},
		bus.Revocations: {1, 24*time.Hour + 120*time.Second, false},
		bus.Clients:     {16, 0, false},
		bus.Assertions:  {1, 70 * time.Minute, false},
		bus.Usage:       {1, 0, false},
	} {
		want := jetstream.StreamConfig{
			Name:              "KV_" + string(bucket),
			Subjects:          []string{"$KV." + string(bucket) + ".>"},
			MaxConsumers:      100_000,
			MaxMsgs:           -1,
			MaxBytes:          -1,
			MaxMsgsPerSubject: own.history,
			MaxMsgSize:        17 << 10,
			MaxAge:            own.maxAge,
			Discard:           jetstream.DiscardNew,
			Replicas:          3,
			Duplicates:        2 * time.Minute,
			DenyDelete:        true,
			DenyPurge:         true,
			AllowDirect:       true,
			AllowMsgTTL:       own.ttl,
			Metadata:          map[string]string{"keyherald.format": "1"},
		}
		haveJSON, wantJSON := mustJSON(t, bus.StreamConfig(bucket, 3)), mustJSON(t, want)
		if haveJSON != wantJSON {
			t.Errorf("%s is\n%s, want\n%s", bucket, haveJSON, wantJSON)
		}
	}
	if r := bus.StreamConfig(bus.Keys, 0).Replicas; r != 1 {
		t.Errorf("replicas 0 became %d", r)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Discard new is about the limits of the stream as a whole, of which there are none: a name's history slides.
func TestN_HistorySlides(t *testing.T) {
	js := admin(t)
	for _, b := range bus.Buckets() {
		history := bus.StreamConfig(b, 1).MaxMsgsPerSubject
		for i := range history + 1 {
			if _, err := js.Publish(t.Context(), b.Subject("a.b"), nil); err != nil {
				t.Fatalf("message %d on one name of %s: %v", i+1, b, err)
			}
		}
		if s := state(t, js, b); s.Msgs != uint64(history) || s.FirstSeq != 2 || s.LastSeq != uint64(history)+1 {
			t.Errorf("%s keeps %d messages from %d to %d", b, s.Msgs, s.FirstSeq, s.LastSeq)
		}
	}
}

func TestN_LargestRecordFitsWithItsHeadersAndLittleMore(t *testing.T) {
	js := admin(t)
	msg := func(size int) *nats.Msg {
		m := nats.NewMsg(bus.Keys.Subject("key.platform.k1"))
		m.Data = make([]byte, size)
		m.Header.Set("Keyherald-Caller", strings.Repeat("c", 256))
		m.Header.Set("Keyherald-Write", strings.Repeat("w", 26))
		return m
	}
	publish := func(size int) error {
		_, err := js.PublishMsg(t.Context(), msg(size), jetstream.WithExpectLastSequencePerSubject(state(t, js, bus.Keys).LastSeq),
			jetstream.WithMsgTTL(3*time.Hour))
		return err
	}
	if err := publish(events.MaxValue); err != nil {
		t.Errorf("a value of %d bytes: %v", events.MaxValue, err)
	}
	var api *jetstream.APIError
	if err := publish(events.MaxValue + 1024); !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamMessageExceedsMaximum {
		t.Errorf("a value of %d bytes: %v", events.MaxValue+1024, err)
	}
}

// Only the leases in KEYS may expire one by one; a revocation that somebody publishes with a short life must not.
func TestN_MessagesExpireOneByOneOnlyInKeys(t *testing.T) {
	js := admin(t)
	for _, b := range bus.Buckets() {
		_, err := js.Publish(t.Context(), b.Subject("a.b"), nil, jetstream.WithMsgTTL(time.Hour))
		if allowed := b == bus.Keys; (err == nil) != allowed {
			t.Errorf("%s: message with a TTL: %v", b, err)
		}
	}
}

func TestEnsureBucketsIsIdempotentAndMayRunManyTimesAtOnce(t *testing.T) {
	js := admin(t)
	for _, b := range bus.Buckets() {
		if err := js.DeleteStream(t.Context(), b.Stream()); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := bus.EnsureBuckets(t.Context(), js, 1); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := js.Publish(t.Context(), bus.Keys.Subject("issuer.orders"), nil); err != nil {
		t.Fatal(err)
	}
	if err := bus.EnsureBuckets(t.Context(), js, 1); err != nil {
		t.Error(err)
	}
	if s := state(t, js, bus.Keys); s.Msgs != 1 {
		t.Errorf("%d messages after a second run", s.Msgs)
	}
}

func TestDriftIsFoundAndNothingIsRewritten(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		want   []bus.Drift
	}{
		"a shorter history": {
			func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 2 },
			[]bus.Drift{{Stream: "KV_KEYS", Setting: "max_msgs_per_subject", Have: "2", Want: "16"}},
		},
		"a quota": {
			func(s *jetstream.StreamConfig) { s.MaxBytes = 1 << 20 },
			[]bus.Drift{{Stream: "KV_KEYS", Setting: "max_bytes", Have: "1048576", Want: "-1"}},
		},
		"what allows to erase": {
			func(s *jetstream.StreamConfig) { s.DenyPurge, s.DenyDelete, s.AllowRollup = false, false, true },
			[]bus.Drift{
				{Stream: "KV_KEYS", Setting: "allow_rollup_hdrs", Have: "true", Want: "absent"},
				{Stream: "KV_KEYS", Setting: "deny_delete", Have: "absent", Want: "true"},
				{Stream: "KV_KEYS", Setting: "deny_purge", Have: "absent", Want: "true"},
			},
		},
		"a life time for keys, and the server's own limit of consumers": {
			func(s *jetstream.StreamConfig) { s.MaxAge, s.MaxConsumers = time.Hour, -1 },
			[]bus.Drift{
				{Stream: "KV_KEYS", Setting: "max_age", Have: "3600000000000", Want: "0"},
				{Stream: "KV_KEYS", Setting: "max_consumers", Have: "-1", Want: "100000"},
			},
		},
		"copies of every message elsewhere": {
			func(s *jetstream.StreamConfig) {
				s.RePublish = &jetstream.RePublish{Source: ">", Destination: "copy.>"}
			},
			[]bus.Drift{{Stream: "KV_KEYS", Setting: "republish", Have: `{"src":"\u003e","dest":"copy.\u003e"}`, Want: "absent"}},
		},
		"a stream of somebody else": {
			func(s *jetstream.StreamConfig) { s.Metadata, s.MaxMsgsPerSubject = nil, 1 },
			[]bus.Drift{{Stream: "KV_KEYS", Setting: "metadata.keyherald.format", Have: "absent", Want: `"1"`}},
		},
		"a stream of another format": {
			func(s *jetstream.StreamConfig) { s.Metadata = map[string]string{"keyherald.format": "2"} },
			[]bus.Drift{{Stream: "KV_KEYS", Setting: "metadata.keyherald.format", Have: `"2"`, Want: `"1"`}},
		},
		"a description and a label": {
			func(s *jetstream.StreamConfig) {
				s.Description = "our keys"
				s.Metadata["team"] = "identity"
			},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			js := admin(t)
			if err := js.DeleteStream(t.Context(), "KV_KEYS"); err != nil {
				t.Fatal(err)
			}
			cfg := bus.StreamConfig(bus.Keys, 1)
			c.change(&cfg)
			before, err := js.CreateStream(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			drifts, err := bus.CheckBuckets(t.Context(), js, 0, bus.Buckets()...)
			if err != nil || !slices.Equal(drifts, c.want) {
				t.Errorf("found %+v (%v), want %+v", drifts, err, c.want)
			}
			var drift *bus.DriftError
			err = bus.EnsureBuckets(t.Context(), js, 1)
			if (err == nil) != (c.want == nil) || err != nil && (!errors.As(err, &drift) || !slices.Equal(drift.Drifts, c.want)) {
				t.Errorf("EnsureBuckets: %v", err)
			}
			after, err := js.Stream(t.Context(), "KV_KEYS")
			if err != nil {
				t.Fatal(err)
			}
			if b, a := mustJSON(t, before.CachedInfo().Config), mustJSON(t, after.CachedInfo().Config); a != b {
				t.Errorf("the stream was rewritten from\n%s to\n%s", b, a)
			}
		})
	}
}

func TestCheckBucketsReportsMissingBucketsAndReplicas(t *testing.T) {
	js := admin(t)
	if err := js.DeleteStream(t.Context(), "KV_USAGE"); err != nil {
		t.Fatal(err)
	}
	drifts, err := bus.CheckBuckets(t.Context(), js, 3, bus.Keys, bus.Usage)
	want := []bus.Drift{
		{Stream: "KV_KEYS", Setting: "num_replicas", Have: "1", Want: "3"},
		{Stream: "KV_USAGE", Setting: "exists", Have: "false", Want: "true"},
	}
	if err != nil || !slices.Equal(drifts, want) {
		t.Errorf("found %+v (%v)", drifts, err)
	}
}

func TestEnsureBucketsSaysWhenAnotherStreamHasTheSubjects(t *testing.T) {
	js := admin(t)
	if err := js.DeleteStream(t.Context(), "KV_USAGE"); err != nil {
		t.Fatal(err)
	}
	cfg := bus.StreamConfig(bus.Clients, 1)
	cfg.Subjects = append(cfg.Subjects, bus.Usage.Filter())
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	err := bus.EnsureBuckets(t.Context(), js, 1)
	if err == nil || !strings.Contains(err.Error(), "make bucket USAGE") || !strings.Contains(err.Error(), "subjects overlap") {
		t.Errorf("error is %v", err)
	}
}

func TestDriftErrorNamesEverySetting(t *testing.T) {
	err := &bus.DriftError{Drifts: []bus.Drift{
		{Stream: "KV_KEYS", Setting: "max_age", Have: "1", Want: "0"},
		{Stream: "KV_USAGE", Setting: "exists", Have: "false", Want: "true"},
		{Stream: "KV_CLIENTS", Setting: "metadata.keyherald.format", Have: "absent", Want: `"1"`},
		{Stream: "KV_ASSERTIONS", Setting: "metadata.keyherald.format", Have: `"2"`, Want: `"1"`},
	}}
	want := `buckets are not set up as they must be: stream KV_KEYS has max_age 1 and must have 0; stream KV_USAGE does not exist; ` +
		`stream KV_CLIENTS was not made by keyherald; stream KV_ASSERTIONS has metadata.keyherald.format "2" and must have "1": ` +
		`find out who changed them, then set them right with nats stream edit, or use another NATS account`
	if err.Error() != want {
		t.Errorf("error is %q", err)
	}
}

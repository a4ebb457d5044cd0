package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events"
)

// Bucket is the name of one of the five key-value buckets.
type Bucket string

// The buckets.
const (
	Keys        Bucket = "KEYS"        // issuers, their public keys, key revocations
	Revocations Bucket = "REVOCATIONS" // single revoked tokens
	Clients     Bucket = "CLIENTS"     // how a client may authenticate
	Assertions  Bucket = "ASSERTIONS"  // replay memory of client assertions
	Usage       Bucket = "USAGE"       // last use of a credential
)

// Buckets lists all buckets.
func Buckets() []Bucket { return []Bucket{Keys, Revocations, Clients, Assertions, Usage} }

// Stream is the name of the JetStream stream behind the bucket.
func (b Bucket) Stream() string { return "KV_" + string(b) }

// Subject is where the messages of one name in the bucket are published.
func (b Bucket) Subject(name string) string { return "$KV." + string(b) + "." + name }

// Filter matches the subjects of all names in the bucket.
func (b Bucket) Filter() string { return b.Subject(">") }

const (
	// headerRoom is what a message's headers may take, in bytes: the server counts them into the size of a message, and
	// a value of events.MaxValue must fit whoever wrote it. It also bounds the caller's name.
	headerRoom = 1 << 10
	// maxConsumers is the number of connected verifiers and nodes that a bucket may have. A positive number is needed:
	// without one the server takes its own default of 1,000.
	maxConsumers = 100_000
	// assertionsMaxAge is how long the use of a client assertion is remembered: the longest life of one, an hour, and
	// five minutes of leeway to either side.
	assertionsMaxAge = 70 * time.Minute
	// duplicateWindow is the server's default, stated so that settings can be compared. No write of ours uses it: an id
	// that somebody can predict would swallow another's write.
	duplicateWindow = 2 * time.Minute

	// formatKey is the metadata of a stream which says that we made it, and to which format.
	formatKey     = "keyherald.format"
	formatVersion = 1
)

// StreamConfig is how the stream of a bucket must be set up, replicas being 1 on a single server. It differs from what
// a client library makes of a bucket in what it refuses: with the rollup header of the default settings a writer of one
// name can erase every other, and a purge would leave connected verifiers with keys that new ones never see.
func StreamConfig(b Bucket, replicas int) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name:              b.Stream(),
		Subjects:          []string{b.Filter()},
		Retention:         jetstream.LimitsPolicy,
		MaxConsumers:      maxConsumers,
		MaxMsgs:           -1,
		MaxBytes:          -1, // a full quota would refuse a revocation
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        events.MaxValue + headerRoom,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Compression:       jetstream.NoCompression,
		Replicas:          max(replicas, 1),
		Duplicates:        duplicateWindow,
		DenyDelete:        true,
		DenyPurge:         true,
		AllowRollup:       false,
		AllowDirect:       true,
		Metadata:          map[string]string{formatKey: strconv.Itoa(formatVersion)},
	}
	switch b {
	case Keys:
		cfg.MaxMsgsPerSubject = events.History
		cfg.AllowMsgTTL = true // for the leases of the issuer nodes' keys
	case Clients:
		cfg.MaxMsgsPerSubject = events.History
	case Revocations:
		cfg.MaxAge = events.RevocationsMaxAge
	case Assertions:
		cfg.MaxAge = assertionsMaxAge
	}
	return cfg
}

// Drift is one setting of a stream that is not as [StreamConfig] says. Have and Want are JSON; Setting is the name in
// JetStream's API, or "exists" for a stream that does not, or "metadata.keyherald.format" for one that keyherald did
// not make, or made to another format.
type Drift struct {
	Stream  string `json:"stream"`
	Setting string `json:"setting"`
	Have    string `json:"have"`
	Want    string `json:"want"`
}

func (d Drift) String() string {
	switch {
	case d.Setting == settingExists:
		return fmt.Sprintf("stream %s does not exist", d.Stream)
	case d.Setting == settingFormat && d.Have == absent:
		return fmt.Sprintf("stream %s was not made by keyherald", d.Stream)
	}
	return fmt.Sprintf("stream %s has %s %s and must have %s", d.Stream, d.Setting, d.Have, d.Want)
}

// IsMissing reports whether the stream does not exist.
func (d Drift) IsMissing() bool { return d.Setting == settingExists }

const (
	settingExists = "exists"
	settingFormat = "metadata." + formatKey
	absent        = "absent"
)

// DriftError says that streams are not set up as they must be. Nothing was changed: whoever changed the settings may
// have had a reason, and a setting that let something be erased is a reason to look at what is left.
type DriftError struct {
	Drifts []Drift // never empty
}

func (e *DriftError) Error() string {
	lines := make([]string, len(e.Drifts))
	for i, d := range e.Drifts {
		lines[i] = d.String()
	}
	return "buckets are not set up as they must be: " + strings.Join(lines, "; ") +
		": find out who changed them, then set them right with nats stream edit, or use another NATS account"
}

// EnsureBuckets makes the streams that do not exist and checks those that do. It is idempotent, and may run on several
// nodes at the same time. A stream that is not as it must be is a [*DriftError], never rewritten.
func EnsureBuckets(ctx context.Context, js jetstream.JetStream, replicas int) error {
	for _, b := range Buckets() {
		_, err := js.Stream(ctx, b.Stream())
		if err == nil {
			continue
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("look for bucket %s: %w", b, err)
		}
		// If another node was faster, with the same settings, this is no error.
		if _, err = js.CreateStream(ctx, StreamConfig(b, replicas)); err != nil {
			return fmt.Errorf("make bucket %s: %w", b, err)
		}
	}
	drifts, err := CheckBuckets(ctx, js, replicas, Buckets()...)
	if err != nil {
		return err
	}
	if len(drifts) > 0 {
		return &DriftError{Drifts: drifts}
	}
	return nil
}

// CheckBuckets compares the streams of the buckets with [StreamConfig] and returns every difference. Replicas of zero
// allow any number. Description, placement and other people's metadata are the operator's business.
func CheckBuckets(ctx context.Context, js jetstream.JetStream, replicas int, buckets ...Bucket) ([]Drift, error) {
	found, err := inspect(replicas, buckets, func(b Bucket) (jetstream.Stream, error) { return js.Stream(ctx, b.Stream()) })
	if err != nil {
		return nil, err
	}
	return found.all(), nil
}

// compare lists the differences of a stream's settings, sorted by name. It works on their JSON, so that a setting which
// nobody here has heard of counts as one that must be off.
func compare(b Bucket, replicas int, have jetstream.StreamConfig) ([]Drift, error) {
	want := StreamConfig(b, replicas)
	if replicas == 0 {
		want.Replicas = have.Replicas
	}
	format, ok := have.Metadata[formatKey]
	if !ok || format != want.Metadata[formatKey] {
		shown := absent
		if ok {
			shown = strconv.Quote(format)
		}
		// The other settings of a stream that is not ours say nothing.
		return []Drift{{b.Stream(), settingFormat, shown, strconv.Quote(want.Metadata[formatKey])}}, nil
	}
	want.Description, want.Placement, want.Metadata = have.Description, have.Placement, have.Metadata

	haveSettings, err := settings(have)
	if err != nil {
		return nil, err
	}
	wantSettings, err := settings(want)
	if err != nil {
		return nil, err
	}
	names := maps.Clone(haveSettings)
	maps.Copy(names, wantSettings)
	var drifts []Drift
	for _, name := range slices.Sorted(maps.Keys(names)) {
		h, w := haveSettings[name], wantSettings[name]
		if string(h) != string(w) {
			drifts = append(drifts, Drift{b.Stream(), name, orAbsent(h), orAbsent(w)})
		}
	}
	return drifts, nil
}

func settings(cfg jetstream.StreamConfig) (map[string]json.RawMessage, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	return m, json.Unmarshal(text, &m)
}

func orAbsent(v json.RawMessage) string {
	if v == nil {
		return absent
	}
	return string(v)
}

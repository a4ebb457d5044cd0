package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// minServer is the oldest server that buckets are made on: the one that all of this was tested with. What is known to be missing in older
// ones is message TTLs, before 2.11, without which the leases of issuer nodes would fill KEYS.
var minServer = serverVersion{2, 15}

type serverVersion struct{ major, minor int }

// ServerVersion is the version of the server that the connection is to now, or empty while there is none.
func (c *Conn) ServerVersion() string { return c.nc.ConnectedServerVersion() }

// CheckVersion returns an [ErrOldServer] if the server's version is older than buckets need.
func CheckVersion(text string) error {
	var v serverVersion
	if _, err := fmt.Sscanf(text, "%d.%d.", &v.major, &v.minor); err != nil {
		return fmt.Errorf("%w: version %q cannot be read, and %d.%d is needed", ErrOldServer, text, minServer.major, minServer.minor)
	}
	if v.major < minServer.major || v.major == minServer.major && v.minor < minServer.minor {
		return fmt.Errorf("%w: version %q, and %d.%d is needed", ErrOldServer, text, minServer.major, minServer.minor)
	}
	return nil
}

// SetUp makes the buckets that do not exist, and returns which. It may run any number of times, and in several places at once. Nothing is
// made, and nothing changed, if a bucket is there that is not as it must be, which is a [*DriftError]; or if the server is not one on which
// buckets can be made ([ErrOldServer], [ErrNoJetStream]). [ErrReplicas] says that there are fewer servers than replicas. Replicas
// of zero mean as many as the buckets that exist have, or one.
func (c *Conn) SetUp(ctx context.Context, replicas int) (made []Bucket, err error) {
	found, err := c.inspect(ctx, replicas)
	if err != nil {
		return nil, err
	}
	if len(found.drifts) > 0 {
		return nil, &DriftError{Drifts: found.drifts}
	}
	if replicas == 0 {
		replicas = max(found.replicas, 1)
	}
	for _, b := range found.missing {
		if err := c.makeBucket(ctx, b, replicas); err != nil {
			return made, fmt.Errorf("make bucket %s: %w", b, err)
		}
		made = append(made, b)
	}
	drifts, err := c.Check(ctx, replicas)
	if err == nil && len(drifts) > 0 { // somebody else was faster, with other settings
		err = &DriftError{Drifts: drifts}
	}
	return made, err
}

// Check compares the buckets with what they must be, and changes nothing. Errors are as of [Conn.SetUp]. Replicas of zero allow any number.
func (c *Conn) Check(ctx context.Context, replicas int) ([]Drift, error) {
	found, err := c.inspect(ctx, replicas)
	return found.all(), err
}

// inspection is what was found of the buckets.
type inspection struct {
	missing  []Bucket
	drifts   []Drift // of those that exist
	replicas int     // most that a bucket has
}

// all are the drifts of all buckets, those that are missing last.
func (i *inspection) all() []Drift {
	drifts := i.drifts
	for _, b := range i.missing {
		drifts = append(drifts, Drift{Stream: b.Stream(), Setting: settingExists, Have: "false", Want: "true"})
	}
	return drifts
}

func (c *Conn) inspect(ctx context.Context, replicas int) (inspection, error) {
	if err := CheckVersion(c.ServerVersion()); err != nil {
		return inspection{}, err
	}
	return inspect(replicas, Buckets(), func(b Bucket) (jetstream.Stream, error) { return c.lookUp(ctx, b) })
}

func inspect(replicas int, buckets []Bucket, lookUp func(Bucket) (jetstream.Stream, error)) (found inspection, err error) {
	for _, b := range buckets {
		stream, err := lookUp(b)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			found.missing = append(found.missing, b)
			continue
		}
		if err != nil {
			return found, fmt.Errorf("look for bucket %s: %w", b, err)
		}
		cfg := stream.CachedInfo().Config
		drifts, err := compare(b, replicas, cfg)
		if err != nil {
			return found, fmt.Errorf("read the settings of bucket %s: %w", b, err)
		}
		found.drifts = append(found.drifts, drifts...)
		found.replicas = max(found.replicas, cfg.Replicas)
	}
	return found, nil
}

func (c *Conn) lookUp(ctx context.Context, b Bucket) (jetstream.Stream, error) {
	ctx, stop := c.request(ctx, "$JS.API.STREAM.INFO."+b.Stream())
	defer stop()
	stream, err := c.js.Stream(ctx, b.Stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	return stream, translateSetup(cause(ctx, err))
}

func (c *Conn) makeBucket(ctx context.Context, b Bucket, replicas int) error {
	ctx, stop := c.request(ctx, "$JS.API.STREAM.CREATE."+b.Stream())
	defer stop()
	_, err := c.js.CreateStream(ctx, StreamConfig(b, replicas))
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil // SetUp looks at it again
	}
	return translateSetup(cause(ctx, err))
}

package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Source has the buckets.
type Source interface {
	// Extent says which stream a bucket is, and what it has.
	Extent(ctx context.Context, bucket bus.Bucket) (bus.Extent, error)
	// Read calls f with every message that a bucket retains, in order, as it was at one moment after the call, and returns the revision of
	// that moment. With an error, something may be missing. f may not keep the value.
	Read(ctx context.Context, bucket bus.Bucket, f func(events.Entry) error) (through uint64, err error)
	// Get returns the last message on a name, or an error that tests as [bus.ErrNotFound].
	Get(ctx context.Context, bucket bus.Bucket, name string) (events.Entry, error)
	// ServerVersion is that of the server.
	ServerVersion() string
}

var _ Source = (*bus.Conn)(nil)

// Meter is told how far something is: what is being done, to how many there are in all, and then, by add, to how many more it has been done.
// Nil: nobody wants to know.
type Meter func(what string, total int) (add func(int), end func())

func (m Meter) start(what string, total int) (add func(int), end func()) {
	if m == nil {
		return func(int) {}, func() {}
	}
	return m(what, total)
}

// Platform is whose records they are. Both are empty if there is no platform yet.
type Platform struct {
	Issuer  string `json:"iss"`
	Account string `json:"account"`
}

func (p Platform) String() string {
	if p == (Platform{}) {
		return "no platform"
	}
	return fmt.Sprintf("platform %s (account %s)", p.Issuer, p.Account)
}

// Section is a bucket in a file. It is a part of reports: members are added, not changed.
type Section struct {
	Bucket  bus.Bucket `json:"bucket"`
	Stream  string     `json:"stream"`
	Created time.Time  `json:"created"`
	First   uint64     `json:"first_seq"` // sequences of the stream when it began to be read
	Last    uint64     `json:"last_seq"`
	Through uint64     `json:"through"` // the messages are those that were retained when the stream was at this sequence
	Records int        `json:"records"` // messages
}

// Summary says what a file is. It is a part of reports: members are added, not changed.
type Summary struct {
	Made     time.Time `json:"made"`
	By       string    `json:"by"`
	Server   string    `json:"nats"`
	Platform Platform  `json:"platform"`
	Buckets  []Section `json:"buckets"`
	Records  int       `json:"records"`
	Bytes    int64     `json:"bytes"`
	SHA256   string    `json:"sha256"` // of all lines before the last
}

// order is the order in which buckets are read; see the package comment.
func order() []bus.Bucket {
	return []bus.Bucket{bus.Keys, bus.Clients, bus.Usage, bus.Assertions, bus.Revocations}
}

// Save writes a backup of all buckets. The writer has a whole file only if the error is nil.
func Save(ctx context.Context, from Source, w io.Writer, by string, meter Meter) (Summary, error) {
	s := saver{w: w, digest: sha256.New(), meter: meter}
	s.sum.Made, s.sum.By, s.sum.Server = time.Now().UTC().Truncate(time.Second), by, from.ServerVersion()
	var err error
	if s.sum.Platform, err = platformOf(ctx, from); err != nil {
		return Summary{}, err
	}
	s.put(header{formatName, formatVersion, s.sum.Made, by, s.sum.Server, s.sum.Platform.Issuer, s.sum.Platform.Account})
	for _, b := range order() {
		if err := s.bucket(ctx, from, b); err != nil {
			return Summary{}, err
		}
	}
	s.sum.SHA256 = hex.EncodeToString(s.digest.Sum(nil))
	s.put(seal{s.sum.SHA256, s.sum.Records})
	if s.err != nil {
		return Summary{}, fmt.Errorf("writing the backup: %w", s.err)
	}
	return s.sum, nil
}

func platformOf(ctx context.Context, from Source) (Platform, error) {
	e, err := from.Get(ctx, bus.Keys, events.IssuerRecord(events.Platform).String())
	if errors.Is(err, bus.ErrNotFound) || err == nil && e.Deleted {
		return Platform{}, nil
	}
	if err != nil {
		return Platform{}, err
	}
	record, err := events.ParseIssuer(e.Value)
	if err != nil {
		return Platform{}, fmt.Errorf("the record of the platform is malformed: write it again before a backup is made: %w", err)
	}
	return Platform{record.Iss, record.Account}, nil
}

type saver struct {
	w      io.Writer
	digest hash.Hash
	meter  Meter
	line   bytes.Buffer
	sum    Summary
	err    error // of w, the first
}

// put writes one line.
func (s *saver) put(v any) {
	if s.err != nil {
		return
	}
	s.line.Reset()
	if s.err = appendLine(&s.line, v); s.err != nil {
		return
	}
	s.digest.Write(s.line.Bytes())
	s.sum.Bytes += int64(s.line.Len())
	_, s.err = s.w.Write(s.line.Bytes())
}

func (s *saver) bucket(ctx context.Context, from Source, b bus.Bucket) error {
	x, err := from.Extent(ctx, b)
	if err != nil {
		return err
	}
	section := Section{Bucket: b, Stream: x.Stream, Created: x.Created.UTC(), First: x.First, Last: x.Last}
	s.put(opening{b, x.Stream, section.Created, x.First, x.Last})
	add, end := s.meter.start("reading "+string(b), int(x.Messages))
	defer end()
	section.Through, err = from.Read(ctx, b, func(e events.Entry) error {
		s.put(messageOf(e))
		section.Records++
		add(1)
		return s.err
	})
	if s.err != nil {
		return fmt.Errorf("writing the backup: %w", s.err)
	}
	if err != nil {
		return err
	}
	s.put(closing{b, section.Through, section.Records})
	s.sum.Buckets = append(s.sum.Buckets, section)
	s.sum.Records += section.Records
	return s.err
}

package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keyherald/keyherald/events/bus"
)

// A server that finds its files damaged cuts off what it cannot read, and goes on; if the file that says that there is a bucket is damaged, the
// bucket is made again, empty. Neither is told. So what was there is noted beside the store, and looked for at the next start.

// revisionsFile holds what was there.
const revisionsFile = "REVISIONS"

// noteEvery is how often it is written, if something has changed: what was written in the last moments before a crash can be lost unseen.
const noteEvery = time.Second

// revision is how far a bucket has come. One that is made again, or restored through the API, was made at another time.
type revision struct {
	Made time.Time `json:"made"`
	Last uint64    `json:"last"`
}

// checkRevisions looks for what was there, warns of what is not there any more, and notes and returns what is.
func (s *Server) checkRevisions() (map[bus.Bucket]revision, error) {
	noted, err := s.dir.readRevisions()
	if err != nil {
		return nil, err
	}
	now, err := s.revisions()
	if err != nil {
		return nil, err
	}
	s.warnLosses(noted, now)
	return now, s.dir.writeRevisions(now)
}

// warnLosses warns of what was noted and is not there now, and lets now say that it was: every start says so, until as much is written again.
func (s *Server) warnLosses(noted, now map[bus.Bucket]revision) {
	for bucket, was := range noted {
		is := now[bucket]
		switch {
		case !is.Made.Equal(was.Made):
			s.warnLoss(bucket, was.Last, 0)
		case is.Last < was.Last:
			s.warnLoss(bucket, was.Last, is.Last)
			now[bucket] = was
		}
	}
}

func (s *Server) warnLoss(bucket bus.Bucket, was, is uint64) {
	s.log.out.Warn().Str("bucket", string(bucket)).Uint64("revision", is).Uint64("lost", was).
		Msg("the bucket has lost what was written to it since: its files were damaged, or older ones put in their place: restore a backup")
}

// keep notes the revisions, and starts the server again if it has to be, until ctx ends.
func (s *Server) keep(ctx context.Context, noted map[bus.Bucket]revision) {
	note := time.NewTicker(noteEvery)
	defer note.Stop()
	health := time.NewTicker(healthEvery)
	defer health.Stop()
	k := keeper{Server: s}
	for {
		select {
		case <-note.C:
			noted = s.note(noted)
		case <-health.C:
			if k.look(ctx) {
				if now, err := s.revisions(); err == nil {
					s.warnLosses(noted, now)
				}
			}
		case <-ctx.Done():
			s.note(noted) // once more
			return
		}
	}
}

// note notes what has changed, and returns what is noted then. What is less than it was stays noted, unless the bucket is another one.
func (s *Server) note(noted map[bus.Bucket]revision) map[bus.Bucket]revision {
	now, err := s.revisions()
	if err == nil {
		for bucket, was := range noted {
			if is, there := now[bucket]; !there || is.Made.Equal(was.Made) && is.Last < was.Last {
				now[bucket] = was
			}
		}
		if maps.Equal(now, noted) {
			return noted
		}
		if err = s.dir.writeRevisions(now); err == nil {
			return now
		}
	}
	s.log.out.Debug().Err(err).Msg("the revisions of the buckets could not be noted")
	return noted
}

// revisions are those of now.
func (s *Server) revisions() (map[bus.Bucket]revision, error) {
	info, err := s.server().Jsz(&server.JSzOptions{Account: account, Streams: true})
	if err == nil && info.Disabled {
		err = errors.New("jetstream has stopped")
	}
	if err != nil {
		return nil, fmt.Errorf("read the revisions of the buckets: %w", err)
	}
	revisions := map[bus.Bucket]revision{}
	for _, detail := range info.AccountDetails {
		for _, stream := range detail.Streams {
			for _, b := range bus.Buckets() {
				if b.Stream() == stream.Name {
					revisions[b] = revision{stream.Created.UTC(), stream.State.LastSeq}
				}
			}
		}
	}
	return revisions, nil
}

func (d *directory) readRevisions() (noted map[bus.Bucket]revision, err error) {
	text, err := os.ReadFile(d.file(revisionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &noted)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was in the buckets: %w: if the file %s is damaged, look at what else is, and remove it", err, d.file(revisionsFile))
	}
	return noted, nil
}

func (d *directory) writeRevisions(now map[bus.Bucket]revision) error {
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return writeFile(d.file(revisionsFile), text)
}

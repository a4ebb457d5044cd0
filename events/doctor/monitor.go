package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events/bus"
)

// Bounds of what a monitoring URL may answer: it may be any server.
const (
	monitorTimeout = 5 * time.Second
	maxVariables   = 1 << 20  // bytes of /varz: a server's own are a few KiB
	maxConsumers   = 64 << 20 // bytes of /jsz: a consumer is 1 KiB, or two
	maxHealth      = 64 << 10 // bytes of /healthz: a sentence
	maxText        = 128      // bytes of a name that is shown
	maxSentence    = 512      // bytes of an error that is shown
)

// monitor is what a monitoring URL told.
type monitor struct {
	url        string // without user and password
	err        error
	id         string
	name       string
	version    string
	asked      time.Time // by our clock
	now        time.Time // by the server's
	answered   time.Time // by ours
	jetStream  bool
	peers      int // how many servers keep JetStream's data together; 0: it is not said
	syncAlways bool
	sync       time.Duration
	room       int64      // bytes that the server's files may take; not positive: as many as there are
	taken      uint64     // bytes of them that are taken
	followers  []follower // of the buckets, on this server
	listErr    error      // why they could not be listed
	ill        string     // what the server says is wrong with it; empty: nothing
	illErr     error      // why it could not be asked
}

// follower is a consumer of a bucket's stream.
type follower struct {
	bucket  bus.Bucket
	created time.Time // of the stream
	name    string
	since   time.Time
	bound   bool // somebody listens
	push    bool
	durable bool
	ends    time.Duration // after which the server removes it when nobody listens; 0: never
}

// variables is the part of /varz that is looked at.
type variables struct {
	ID        string    `json:"server_id"`
	Name      string    `json:"server_name"`
	Version   string    `json:"version"`
	Now       time.Time `json:"now"`
	JetStream struct {
		Config *struct {
			SyncAlways   bool          `json:"sync_always"`
			SyncInterval time.Duration `json:"sync_interval"`
			MaxStorage   int64         `json:"max_storage"`
		} `json:"config"`
		Stats struct {
			Storage uint64 `json:"storage"`
		} `json:"stats"`
		Meta struct {
			Size int `json:"cluster_size"`
		} `json:"meta"`
	} `json:"jetstream"`
}

// health is the part of /healthz that is looked at.
type health struct {
	Status string `json:"status"`
	Error  string `json:"error"`
}

// askAgain is when a server that is not well is asked again: its replicas are not, for moments, while they get what was written meanwhile. It logs
// each answer of that kind.
const askAgain = 2 * time.Second

// streams is the part of /jsz that is looked at.
type streams struct {
	Accounts []struct {
		Streams []struct {
			Name      string    `json:"name"`
			Created   time.Time `json:"created"`
			Consumers []struct {
				Name    string    `json:"name"`
				Created time.Time `json:"created"`
				Bound   bool      `json:"push_bound"`
				Config  *struct {
					Durable string        `json:"durable_name"`
					Deliver string        `json:"deliver_subject"`
					Ends    time.Duration `json:"inactive_threshold"`
				} `json:"config"`
			} `json:"consumer_detail"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// readMonitor asks a server's monitoring URL.
func readMonitor(ctx context.Context, address string, clock func() time.Time) *monitor {
	m := &monitor{url: bus.RedactURL(address)}
	m.read(ctx, address, clock)
	if m.err == nil {
		m.ill, m.illErr = readHealth(ctx, address)
	}
	return m
}

func (m *monitor) read(ctx context.Context, address string, clock func() time.Time) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	var v variables
	m.asked = clock()
	if m.err = get(ctx, address, "/varz", maxVariables, &v); m.err != nil {
		return
	}
	m.answered = clock()
	if v.ID == "" || v.Version == "" || v.Now.IsZero() {
		m.err = errors.New("it does not say which server it is, its version and its time")
		return
	}
	m.id, m.name, m.version, m.now = short(v.ID), short(v.Name), short(v.Version), v.Now
	if c := v.JetStream.Config; c != nil {
		m.jetStream, m.syncAlways, m.sync, m.peers = true, c.SyncAlways, c.SyncInterval, v.JetStream.Meta.Size
		m.room, m.taken = c.MaxStorage, v.JetStream.Stats.Storage
	}
	var s streams
	m.listErr = get(ctx, address, "/jsz?accounts=true&consumers=true&config=true&limit=1024", maxConsumers, &s)
	for _, account := range s.Accounts {
		for _, stream := range account.Streams {
			for _, b := range bus.Buckets() {
				if stream.Name != b.Stream() {
					continue
				}
				for _, c := range stream.Consumers {
					f := follower{bucket: b, created: stream.Created, name: short(c.Name), since: c.Created, bound: c.Bound}
					if c.Config != nil {
						f.durable, f.push, f.ends = c.Config.Durable != "", c.Config.Deliver != "", c.Config.Ends
					}
					m.followers = append(m.followers, f)
				}
			}
		}
	}
}

// readHealth asks a server what is wrong with it, again while there is something, as long as there is time.
func readHealth(ctx context.Context, address string) (ill string, err error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	for {
		var h health
		if err := get(ctx, address, "/healthz", maxHealth, &h); err != nil {
			if ill != "" { // there was no time to ask again
				return ill, nil
			}
			return "", err
		}
		switch {
		case h.Status == "ok":
			return "", nil
		case h.Status == "":
			return "", errors.New("it does not say how it is")
		case h.Error == "":
			h.Error = h.Status
		}
		ill = cut(h.Error, maxSentence)
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ill, nil
		}
	}
}

// get reads JSON. No error has the URL's password in it, or what was answered.
func get(ctx context.Context, address, path string, limit int64, into any) error {
	u, err := url.Parse(strings.TrimSuffix(address, "/") + path)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("it is no URL such as http://host:8222")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return errors.New("it is no URL such as http://host:8222")
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		var where *url.Error // has the URL in it
		if errors.As(err, &where) {
			err = where.Err
		}
		return err
	}
	defer response.Body.Close()
	unwell := path == "/healthz" && response.StatusCode >= http.StatusInternalServerError // and says why
	if response.StatusCode != http.StatusOK && !unwell {
		return fmt.Errorf("it answers with status %d", response.StatusCode)
	}
	body := &io.LimitedReader{R: response.Body, N: limit}
	err = json.NewDecoder(body).Decode(into)
	switch {
	case body.N == 0:
		return fmt.Errorf("it answers with more than %d KiB", limit>>10)
	case ctx.Err() != nil:
		return fmt.Errorf("it does not answer in time: %w", ctx.Err())
	case err != nil: // the error may quote the answer
		return errors.New("it answers with something else than the JSON of a NATS server")
	}
	return nil
}

// short keeps what is said by others within a line.
func short(s string) string { return cut(s, maxText) }

func cut(s string, limit int) string {
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}

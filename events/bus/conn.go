package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"
)

// Config says how to reach NATS.
type Config struct {
	// URL of a server, or several separated by commas. Required.
	URL string
	// SeedFile holds an nkey seed (as made in the data directory of serve). At most one of SeedFile and
	// CredsFile is set; neither means a server that asks for no credential.
	SeedFile string
	// CredsFile holds a user JWT and its seed.
	CredsFile string
	// InboxPrefix of the subjects on which answers come. Empty: the private prefix of the credential's
	// public key (see InboxPrefix), or _INBOX without a credential.
	InboxPrefix string
	// Name of the connection, as the server lists it. Empty: keyherald.
	Name string
	// TLS settings for tls:// URLs. Nil: the system's.
	TLS *tls.Config
	// Wait makes Connect try until its context ends when no server can be reached. Without it, the first refusal is
	// returned. Once connected, a lost connection is always made again.
	Wait bool
	// Logger gets connection changes. The zero Logger is silent.
	Logger zerolog.Logger
}

// Conn is a connection to NATS that is made again whenever it is lost. It may be used by several goroutines.
type Conn struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	log zerolog.Logger

	mu        sync.Mutex
	lost      chan struct{} // closed at the next disconnect, then replaced
	connected chan struct{} // closed while connected
	violation map[string]error
	streams   map[Bucket]jetstream.Stream
}

// Pings find a connection that died without a word within 15 s.
const (
	pingInterval = 5 * time.Second
	pingsOut     = 2
	dialTimeout  = 5 * time.Second
)

// Connect connects to NATS.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	c := &Conn{
		log:       cfg.Logger,
		lost:      make(chan struct{}),
		connected: make(chan struct{}),
		violation: map[string]error{},
		streams:   map[Bucket]jetstream.Stream{},
	}
	options, err := c.options(cfg)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		c.nc, err = nats.Connect(cfg.URL, options...)
		if err == nil {
			break
		}
		err = fmt.Errorf("connecting to %s: %w", redact(cfg.URL), connectError(err))
		if !cfg.Wait {
			return nil, err
		}
		c.log.Warn().Err(err).Msg("waiting for nats")
		select {
		case <-time.After(backoff(attempt)):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	c.markConnected()
	if c.js, err = jetstream.New(c.nc); err != nil {
		c.nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) options(cfg Config) ([]nats.Option, error) {
	name := cfg.Name
	if name == "" {
		name = "keyherald"
	}
	options := []nats.Option{
		nats.Name(name),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a credential may be refused for a while, during an upgrade
		nats.CustomReconnectDelay(func(attempts int) time.Duration { return backoff(attempts) }),
		nats.ReconnectBufSize(-1), // a write fails now; it is not sent at some later time
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.markLost(err) }),
		nats.ReconnectHandler(func(*nats.Conn) { c.markConnected() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.noteError(err) }),
	}
	if cfg.TLS != nil {
		options = append(options, nats.Secure(cfg.TLS))
	}
	credential, prefix, err := credential(cfg)
	if err != nil {
		return nil, err
	}
	if credential != nil {
		options = append(options, credential)
	}
	if cfg.InboxPrefix != "" {
		prefix = cfg.InboxPrefix
	}
	if prefix != "" {
		options = append(options, nats.CustomInboxPrefix(prefix))
	}
	return options, nil
}

// credential returns the option that proves who connects, and the inbox prefix that belongs to it.
func credential(cfg Config) (nats.Option, string, error) {
	file, what := cfg.SeedFile, "nkey seed"
	if cfg.CredsFile != "" {
		if cfg.SeedFile != "" {
			return nil, "", errors.New("both an nkey seed file and a credentials file are given: use one")
		}
		file, what = cfg.CredsFile, "credentials"
	}
	if file == "" {
		return nil, "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("reading the %s file: %w", what, err)
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, "", fmt.Errorf("file %s has no %s in it", file, what)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, "", fmt.Errorf("file %s has no usable %s: %w", file, what, err)
	}
	if cfg.CredsFile != "" {
		return nats.UserCredentials(file), InboxPrefix(public), nil
	}
	return nats.Nkey(public, pair.Sign), InboxPrefix(public), nil
}

func connectError(err error) error {
	if errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "Authorization Violation") {
		return fmt.Errorf("%w: the server refused the credential", ErrPermission)
	}
	return fmt.Errorf("%w (is keyherald serve running there?): %w", ErrUnreachable, err)
}

// redact leaves the user and password out of a URL.
func redact(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		if scheme, rest, ok := strings.Cut(p, "://"); ok {
			parts[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
		}
	}
	return strings.Join(parts, ",")
}

// Close closes the connection. Feeds on it end.
func (c *Conn) Close() { c.nc.Close() }

// URL is the server that the connection is to now.
func (c *Conn) URL() string { return c.nc.ConnectedUrlRedacted() }

// JetStream gives access to the server's JetStream API for making and checking buckets.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

func (c *Conn) markLost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.lost)
	c.lost = make(chan struct{})
	select {
	case <-c.connected:
		c.connected = make(chan struct{})
	default:
	}
	c.log.Warn().Err(err).Msg("nats disconnected")
}

func (c *Conn) markConnected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.connected:
	default:
		close(c.connected)
	}
	c.log.Debug().Str("url", c.nc.ConnectedUrlRedacted()).Msg("nats connected")
}

func (c *Conn) noteError(err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.mu.Lock()
		c.violation[violationSubject(err)] = err
		c.mu.Unlock()
	}
	c.log.Debug().Err(err).Msg("nats")
}

// violationSubject cuts the subject out of: … Permissions Violation for Publish to "subject".
func violationSubject(err error) string {
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	return subject
}

// denied returns the server's refusal to let this credential publish on subject, if there was one. The server does
// not answer a request that it refuses: without this, the caller would only see that it timed out.
func (c *Conn) denied(subject string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.violation[subject]
	delete(c.violation, subject)
	return err
}

// Lost returns a channel that is closed at the next disconnect.
func (c *Conn) Lost() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// Connected returns a channel that is closed once there is a connection.
func (c *Conn) Connected() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected
}

// backoff is the wait before another attempt: 100 ms doubled up to 30 s, of which a random half.
func backoff(attempt int) time.Duration {
	const first, last = 100 * time.Millisecond, 30 * time.Second
	d := last
	if attempt < 9 {
		d = min(first<<attempt, last)
	}
	return d/2 + rand.N(d/2)
}

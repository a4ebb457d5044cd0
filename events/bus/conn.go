package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Config says how to reach NATS.
type Config struct {
	// URL of a server, or several separated by commas. Required, unless Server is set.
	URL string
	// Server is a server in this process: the connection to it uses neither the network nor TLS. Nil: that of URL.
	Server InProcess
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
	// CAFile holds the authorities (PEM) of which one must have signed the server's certificate. It is read for every connection
	// that is made, so it may be replaced. A server without TLS is refused then. Empty: those of TLS, or the system's.
	CAFile string
	// ServerName is the name that must be in the server's certificate. Empty: that of TLS, or of the URL.
	ServerName string
	// Wait makes Connect try until its context ends when no server can be reached. Without it, the first refusal is
	// returned. Once connected, a lost connection is always made again.
	Wait bool
	// OnlyURL keeps to the servers of URL. Otherwise, those that they tell of are tried, too, when they refuse or are lost.
	OnlyURL bool
	// Impatient feeds ask again after 2 s without an answer, and not after 5 to 10 s: while another server is elected, nobody answers. It is for a
	// command that somebody waits for. When thousands have lost their server, the others cannot answer all of them in that time.
	Impatient bool
	// Logger gets connection changes. The zero Logger is silent.
	Logger zerolog.Logger
}

// Conn is a connection to NATS that is made again whenever it is lost. It may be used by several goroutines.
type Conn struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	log       zerolog.Logger
	impatient bool

	closing sync.Once
	closed  chan struct{} // closed when the library has called everything that it calls

	mu        sync.Mutex
	connected chan struct{} // closed while connected
	refusal   error         // see Refusal
	waiters   map[*waiter]struct{}
	streams   map[Bucket]jetstream.Stream
}

const (
	// Pings find a connection that died without a word within 15 s.
	pingInterval = 5 * time.Second
	pingsOut     = 2
	dialTimeout  = 5 * time.Second
	// A lost connection is made again after 50 ms at the earliest and 5 s at the latest after the last attempt.
	firstRedial = 100 * time.Millisecond
	lastRedial  = 5 * time.Second
)

// Connect connects to NATS.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	c := &Conn{
		log:       cfg.Logger,
		impatient: cfg.Impatient,
		connected: make(chan struct{}),
		closed:    make(chan struct{}),
		waiters:   map[*waiter]struct{}{},
		streams:   map[Bucket]jetstream.Stream{},
	}
	connected := c.connected
	options, err := c.options(cfg)
	if err != nil {
		return nil, err
	}
	url, shown := cfg.URL, RedactURL(cfg.URL)
	if cfg.Server != nil {
		url, shown = nats.DefaultURL, "the NATS server in this process"
	}
	for attempt := 0; ; attempt++ {
		c.nc, err = nats.Connect(url, append(options, nats.Timeout(dialTime(ctx)))...)
		if err == nil {
			break
		}
		err = fmt.Errorf("connecting to %s: %w", shown, connectError(err))
		if !cfg.Wait || errors.Is(err, ErrPermission) {
			return nil, err
		}
		c.log.Warn().Err(err).Msg("waiting for nats")
		if ended := sleep(ctx, backoff(attempt, firstRedial, lastRedial, rand.N)); ended != nil {
			return nil, errors.Join(ended, err)
		}
	}
	<-connected // the library tells it a little later; until then, what is lost would look like what is not there yet
	if c.js, err = jetstream.New(c.nc); err != nil {
		c.nc.Close()
		return nil, err
	}
	return c, nil
}

// dialTime is how long one attempt to connect may take.
func dialTime(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(min(dialTimeout, time.Until(deadline)), time.Millisecond)
	}
	return dialTimeout
}

func (c *Conn) options(cfg Config) ([]nats.Option, error) {
	name := cfg.Name
	if name == "" {
		name = "keyherald"
	}
	options := []nats.Option{
		nats.Name(name),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a credential may be refused for a while, during an upgrade
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			return backoff(attempts, firstRedial, lastRedial, rand.N)
		}),
		nats.ReconnectBufSize(-1), // a write fails now; it is not sent at some later time
		// The library calls these one after the other, in the order in which things happened.
		nats.ConnectHandler(c.markConnected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.markLost(err) }),
		nats.ReconnectHandler(c.markConnected),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.noteError(err) }),
		nats.ClosedHandler(func(*nats.Conn) { c.closing.Do(func() { close(c.closed) }) }), // the last of all
	}
	transport, err := transport(cfg)
	if err != nil {
		return nil, err
	}
	options = append(options, transport...)
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
	if cfg.OnlyURL {
		options = append(options, nats.IgnoreDiscoveredServers())
	}
	return options, nil
}

// transport are the options of what is between us and the server.
func transport(cfg Config) ([]nats.Option, error) {
	if cfg.Server != nil {
		return []nats.Option{nats.InProcessServer(cfg.Server)}, nil
	}
	var options []nats.Option
	settings := cfg.TLS
	if cfg.ServerName != "" {
		if settings = cfg.TLS.Clone(); settings == nil {
			settings = &tls.Config{}
		}
		settings.ServerName = cfg.ServerName
	}
	if settings != nil {
		options = append(options, nats.Secure(settings))
	}
	if cfg.CAFile != "" {
		authorities := nats.RootCAs(cfg.CAFile)
		if err := authorities(&nats.Options{}); err != nil { // now, and not as if the server could not be reached
			return nil, fmt.Errorf("reading the authorities of NATS servers: %w", err)
		}
		options = append(options, authorities)
	}
	return options, nil
}

func connectError(err error) error {
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), strings.Contains(err.Error(), "Authorization Violation"):
		return fmt.Errorf("%w: the server refused the credential", ErrPermission)
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("%w: it has no TLS: %w", ErrUntrusted, err)
	}
	return fmt.Errorf("%w (is keyherald serve running there?): %w", ErrUnreachable, err)
}

// RedactURL leaves the user and password out of a URL, or of several separated by commas.
func RedactURL(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		if scheme, rest, ok := strings.Cut(p, "://"); ok {
			parts[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
		}
	}
	return strings.Join(parts, ",")
}

// Close closes the connection and returns when nothing of it runs any more. Feeds on it go on as if it were lost for good,
// until they are closed themselves.
func (c *Conn) Close() {
	c.nc.Close()
	<-c.closed
}

// URL is the server that the connection is to now.
func (c *Conn) URL() string { return c.nc.ConnectedUrlRedacted() }

// InboxPrefix is the prefix of the subjects on which answers come.
func (c *Conn) InboxPrefix() string {
	if c.nc.Opts.InboxPrefix != "" {
		return c.nc.Opts.InboxPrefix
	}
	return sharedInbox
}

// JetStream gives access to the server's JetStream API for making and checking buckets.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

// Connected returns a channel that is closed once there is a connection.
func (c *Conn) Connected() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected
}

// Refusal is why a server did not take the lost connection back: the credential was revoked, say. It tests as [ErrPermission]. Nil: there is a
// connection, or no server has refused it yet. The connection is tried again all the same.
func (c *Conn) Refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusal
}

// stream returns a handle on the bucket's stream, looked up once.
func (c *Conn) stream(ctx context.Context, bucket Bucket) (jetstream.Stream, error) {
	c.mu.Lock()
	s := c.streams[bucket]
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := c.info(ctx, requestTimeout, bucket)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.streams[bucket] = s
	c.mu.Unlock()
	return s, nil
}

// info asks the server about the bucket's stream.
func (c *Conn) info(ctx context.Context, limit time.Duration, bucket Bucket) (jetstream.Stream, error) {
	ctx, stop := c.requestWithin(ctx, limit, "$JS.API.STREAM.INFO."+bucket.Stream())
	defer stop()
	s, err := c.js.Stream(ctx, bucket.Stream())
	return s, translate(cause(ctx, err))
}

// backoff is the wait before another attempt: first, doubled up to last, of which a random half.
func backoff(attempt int, first, last time.Duration, random jitter) time.Duration {
	d := last
	if attempt < 16 {
		d = min(first<<attempt, last)
	}
	return d/2 + random(d/2)
}

// sleep returns after d, or with the reason why ctx has ended before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

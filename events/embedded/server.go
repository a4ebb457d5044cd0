// Package embedded runs a NATS server with JetStream inside the process, so that keyherald needs nothing else to start.
//
// The server promises what the rest of keyherald builds on: an acknowledged write is on the disk; the buckets exist, and
// are set up as package bus says, before the first client can connect; every client authenticates with an nkey of one
// of four roles, and can do what its role says and nothing else. It listens on loopback, or with TLS. Each role has one
// key of its own; [Users] are added and revoked one by one, also while the server runs.
//
// Its data directory is trusted: who can write there can change every record, and who can read the key files can act in
// their roles. It is laid out as follows, everything readable by its owner only.
//
//	DIR/nats/VERSION           1
//	DIR/nats/lock              held by the running server
//	DIR/nats/operator.nk       nkey seeds, one for each role: operator, issuer, verifier, admin
//	DIR/nats/users/list.json   users beside those: names, roles and public nkeys, see [User]
//	DIR/nats/users.known       is there once there was a user: a list that is lost is not begun anew
//	DIR/nats/users.applied     digest of the users that the running server lets in
//	DIR/nats/store             JetStream's files
//	DIR/nats/REVISIONS         how far the buckets had come, a second ago at most
//
// A loss of the key files costs nothing but new credentials (they are made again when they are not there); one of the list of users
// keeps all of them out, and nobody is added until it is restored or users.known removed; one of the store is a loss of all records. A start
// warns when the store has less than it had: when its files were damaged, or older ones put in their place. Starting is repeatable: whatever a
// killed process left behind, the next start completes. A server whose disk was full starts again by itself, as soon as there is room: its
// clients lose their connections for that moment.
//
//	srv, err := embedded.Start(ctx, embedded.Config{Dir: "data"})
//	if err != nil {
//		return err
//	}
//	defer srv.Close()
//	fmt.Printf("nats --server %s --nkey %s kv ls KEYS\n", srv.URL(), srv.KeyFile(bus.Operator))
package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keyherald/keyherald/events/bus"
)

// Server is a running NATS server. Its methods are safe for concurrent use.
type Server struct {
	cfg  Config
	at   listen
	dir  *directory
	keys map[bus.Role]string // public nkeys
	log  *serverLog
	door *door
	nats atomic.Pointer[server.Server] // another one once it was started again; nil until it is made
	// admission changes who the door lets in; nil until it was read for the first time.
	admission *admission
	addr      netip.AddrPort

	unwritable atomic.Pointer[error]

	background    sync.WaitGroup
	endBackground context.CancelFunc

	close    sync.Once
	closeErr error // of the first Close; read after it
}

// Start runs a server and returns when clients can use it. Ctx bounds the start only; [Server.Close] ends it.
//
// Errors say which of these it was: a bad Config, an address in use, a directory of another user, of a newer version or
// in use by another process, a key file that is damaged or readable by others, buckets that were changed
// ([*bus.DriftError]).
func Start(ctx context.Context, cfg Config) (*Server, error) {
	at, err := cfg.check(ctx)
	if err != nil {
		return nil, fmt.Errorf("start embedded nats server: %w", err)
	}
	dir, err := openDirectory(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start embedded nats server: %w", err)
	}
	s := &Server{cfg: cfg, at: at, dir: dir, log: &serverLog{out: cfg.Logger}, door: &door{}}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("start embedded nats server: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	if err := checkFree(ctx, s.at); err != nil {
		return err
	}
	var err error
	if s.keys, err = s.dir.openKeys(); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	noted, err := s.checkRevisions()
	if err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	s.addr = s.server().Addr().(*net.TCPAddr).AddrPort()
	s.at.port = int(s.addr.Port()) // of all later starts
	var background context.Context
	background, s.endBackground = context.WithCancel(context.WithoutCancel(ctx))
	s.background.Go(func() { s.keep(background, noted) })
	return nil
}

// server is the one that runs now.
func (s *Server) server() *server.Server { return s.nats.Load() }

// run makes a server and starts it, for clients in this process only.
func (s *Server) run(ctx context.Context) error {
	opts, err := options(s.cfg, s.at, s.dir, s.door)
	if err != nil {
		return err
	}
	nats, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	if s.door.account, err = nats.LookupAccount(account); err != nil {
		return err
	}
	if err := s.admit(s.cfg.Logger); err != nil {
		return err
	}
	s.log.first.Store(nil)
	nats.SetLoggerV2(s.log, false, false, false)
	s.nats.Store(nats)

	nats.Start() // returns when the store has been read
	if err := s.log.fatal(); err != nil {
		return err
	}
	return s.ensureBuckets(ctx)
}

// open lets in clients from elsewhere.
func (s *Server) open() error {
	s.server().AcceptLoop(make(chan struct{})) // opens the listener and returns
	if err := s.log.fatal(); err != nil {
		return err
	}
	s.admission.follow()
	return nil
}

func (s *Server) ensureBuckets(ctx context.Context) error {
	err := bus.EnsureBucketsInProcess(ctx, s, s.KeyFile(bus.Admin))
	var drift *bus.DriftError
	if s.cfg.Drift != nil && errors.As(err, &drift) {
		return s.cfg.Drift(drift.Drifts)
	}
	return err
}

// checkFree tries the address before anything is done, for an error that says what is wrong.
func checkFree(ctx context.Context, at listen) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w: stop what is using it, or listen on another address", at, err)
	}
	return l.Close()
}

// Addr is the address on which the server listens, or has listened before it was closed.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// URL is where clients on this machine connect to: nats://host:port, or tls://host:port with TLS.
func (s *Server) URL() string {
	scheme, host := "nats", s.at.host
	if s.cfg.TLS != nil {
		scheme = "tls"
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(s.Addr().Port())))
}

// KeyFile is the path of a role's nkey seed.
func (s *Server) KeyFile(r bus.Role) string { return s.dir.keyFile(r) }

// InboxPrefix is the private inbox prefix of a role's credential.
func (s *Server) InboxPrefix(r bus.Role) string { return bus.InboxPrefix(s.keys[r]) }

// InProcessConn is a connection to the server that uses neither the network nor TLS. It makes *Server an argument for
// nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) { return s.server().InProcessConn() }

// Close stops the server and returns when it is gone and its directory free. Later calls return what the first did.
func (s *Server) Close() error {
	s.close.Do(func() {
		if s.endBackground != nil {
			s.endBackground()
			s.background.Wait()
		}
		if s.admission != nil {
			s.admission.end()
		}
		if nats := s.server(); nats != nil {
			nats.Shutdown()
			nats.WaitForShutdown() // in case the server had begun to shut itself down
		}
		if s.admission != nil {
			s.closeErr = s.admission.leave()
		}
		s.closeErr = errors.Join(s.closeErr, s.dir.release())
	})
	return s.closeErr
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/issuer"
	"github.com/keyherald/keyherald/registry"
)

// service is a serve process: its parts, and how they are put together.
type service struct {
	*app
	cmd *serveCmd

	edge     *edge
	listener net.Listener
	at       addresses
	conn     *bus.Conn // in the role issuer
	keys     *bus.KeySet
	clients  *bus.ClientSet
	office   *office // nil: this process may not register anybody
	first    bool    // this start has made the first admin
	node     *issuer.Node
	metrics  *prometheus.Registry
	handler  http.Handler
	tasks    []task

	closers []func() // in the order in which the parts were opened
}

// task is what runs beside the HTTP server until the process stops.
type task struct {
	name string
	run  func(context.Context) error
}

// open opens one part after the other. What is open when it fails, close closes.
func (s *service) open(ctx context.Context) error {
	signingKey, err := s.cmd.signingKey() // before anything is started
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{s.listen, s.follow, s.openOffice} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	var ours prometheus.Registerer
	s.metrics, ours = newMetrics()
	cfg := issuer.Config{
		TokenTTL: s.cmd.TokenTTL, KeyRotation: s.cmd.KeyRotation, SigningKey: signingKey, MaxStaleness: s.cmd.MaxStaleness, Issuer: s.cmd.Issuer,
	}
	if err := s.makeNode(cfg, ours); err != nil {
		return err
	}
	return s.mount(ours)
}

// listen takes the address before anything else is done, and starts the embedded NATS server, if it is to be used.
func (s *service) listen(ctx context.Context) (err error) {
	if s.edge, s.listener, err = s.cmd.listen(s.log); err != nil {
		return err
	}
	s.onClose(func() { s.listener.Close() })
	var stop func()
	if s.at, stop, err = s.cmd.openBus(ctx, s.app); err != nil {
		return err
	}
	s.onClose(stop)
	return nil
}

// follow connects in the role issuer, and waits until the live sets are complete.
func (s *service) follow(ctx context.Context) (err error) {
	if s.conn, err = connectIssuer(ctx, s.at.issuer); err != nil {
		return err
	}
	s.onClose(s.conn.Close)
	s.keys = s.conn.FollowKeys(s.log)
	var logging sync.WaitGroup
	s.onClose(func() { s.keys.Close(); logging.Wait() })
	s.clients = s.conn.FollowClients(s.log)
	s.onClose(s.clients.Close)
	if err := errors.Join(s.keys.Wait(ctx), s.clients.Wait(ctx)); err != nil {
		return err
	}
	logging.Go(func() { journal(s.keys, s.log) })
	return nil
}

// openOffice connects as operator, if there is such a credential, and makes the platform's record and the first admin if they are
// not there.
func (s *service) openOffice(ctx context.Context) error {
	office, stop, err := s.cmd.openRegistry(ctx, s.app, s.at, s.keys)
	if err != nil {
		return err
	}
	s.office = office
	s.onClose(stop)
	if s.first, err = s.cmd.prepare(ctx, s.at, office); err != nil {
		return err
	}
	return checkPlatform(s.keys.Keys(), s.cmd.Issuer)
}

// makeNode makes the node of the token service, of whose configuration the flags' part is given.
func (s *service) makeNode(cfg issuer.Config, ours prometheus.Registerer) error {
	revoker, err := registry.New(registry.Config{Store: s.conn, Keys: s.keys, Logger: s.log}) // as the role issuer
	if err != nil {
		return err
	}
	if cfg.Metrics, err = issuer.NewMetrics(ours); err != nil {
		return err
	}
	used, recording, err := recordUsage(s.app, s.conn)
	if err != nil {
		return err
	}
	cfg.Keys, cfg.Clients, cfg.Leases, cfg.Assertions, cfg.Logger = s.keys, s.clients, publishLeases(s.conn), assertions{s.conn}, s.log
	cfg.Revoke, cfg.Used = revokeTokens(revoker), used
	cfg.UnknownKey = func(issuer events.Name, kid string) { s.keys.ReportUnknownKey(issuer, events.KeyID(kid)) }
	s.edge.configure(&cfg)
	if s.node, err = issuer.New(cfg); err != nil {
		return err
	}
	s.tasks = append(s.tasks, task{"token service", s.node.Run}, recording, task{"certificates", s.edge.watch})
	if s.at.certificate != nil {
		s.tasks = append(s.tasks, task{"certificate of NATS", s.at.certificate.watch(s.log)})
	}
	return nil
}

// mount makes the handler of all that is served, and what runs beside it.
func (s *service) mount(ours prometheus.Registerer) error {
	if err := ours.Register(newFeedMetrics(s.keys, s.clients, s.node.Ready)); err != nil {
		return err
	}
	if s.at.unwritable != nil {
		if err := ours.Register(natsWritable(s.at.unwritable)); err != nil {
			return err
		}
	}
	refreshing, err := s.cmd.refreshTask(s.app, s.office, ours)
	if err != nil {
		return err
	}
	s.tasks = append(s.tasks, refreshing...)
	endpoints, err := s.cmd.withRegistry(s.app, s.node, s.office)
	if err != nil {
		return err
	}
	s.handler = s.edge.handler(accessLog(s.log, withMetrics(endpoints, s.metrics)))
	return nil
}

func (s *service) onClose(f func()) { s.closers = append(s.closers, f) }

func (s *service) close() {
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		s.closers[last]()
		s.closers = s.closers[:last]
	}
}

// run answers until the process is told to stop or something fails.
func (s *service) run(ctx context.Context) error {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until the last request is answered
	defer cancel()
	server := httpServer(s.app, s.handler)
	failed := make(chan error, 1+len(s.tasks))
	var running sync.WaitGroup
	for _, t := range s.tasks {
		running.Go(func() {
			if err := t.run(working); err != nil && working.Err() == nil {
				failed <- fmt.Errorf("%s: %w", t.name, err)
			}
		})
	}
	running.Go(func() {
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("http: %w", err)
		}
	})
	var err error
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.err, "keyherald: stopping; again to abort")
	case err = <-failed:
	}
	// Requests first, then the lease: its end is that of the last token.
	stop, stopCancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer stopCancel()
	if err := server.Shutdown(stop); err != nil {
		s.log.Warn().Err(err).Msg("stopping http")
		server.Close() // what is still in hand would go on without what it needs
	}
	cancel()
	running.Wait()
	return err
}

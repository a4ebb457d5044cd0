package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// tryAnonymous connects without a credential and asks for KEYS. The error of a server that lets nobody in is a [bus.ErrPermission], and
// errLetIn is in all others.
func (f *facts) tryAnonymous(ctx context.Context, n *node) error {
	cfg := f.at(n.url)
	cfg.URL, cfg.SeedFile, cfg.CredsFile, cfg.InboxPrefix = n.url, "", "", ""
	conn, err := bus.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Inspect(ctx, bus.Keys)
	return errors.Join(errLetIn, err)
}

// errLetIn: there was a connection without a credential.
var errLetIn = errors.New("a connection without a credential is let in")

// roleTried is what came of trying the calls of a role on a node.
type roleTried struct {
	Credential
	own      bool  // it is the one that everything else is asked with, of whichever role
	err      error // why it could not be tried
	too      []bus.Call
	tooFew   []bus.Call
	refusals int

	issuers, ofIssuers int // whose names were tried, and how many there are
}

// tryRoles tries every credential on a node.
func (f *facts) tryRoles(ctx context.Context, n *node) []roleTried {
	var tried []roleTried
	if f.cfg.NATS.SeedFile != "" || f.cfg.NATS.CredsFile != "" {
		t := roleTried{Credential: Credential{bus.Admin, f.cfg.NATS.SeedFile, f.cfg.NATS.CredsFile}, own: true}
		if !slices.ContainsFunc(f.cfg.Roles, func(c Credential) bool { return c.file() == t.file() }) {
			tried = append(tried, t)
		}
	}
	for _, c := range f.cfg.Roles {
		tried = append(tried, roleTried{Credential: c})
	}
	names, issuers, ofIssuers := f.records.realNames()
	conns := make([]*bus.Conn, len(tried))
	for i := range tried {
		tried[i].issuers, tried[i].ofIssuers = issuers, ofIssuers
		cfg := f.at(n.url)
		cfg.URL, cfg.SeedFile, cfg.CredsFile, cfg.InboxPrefix = n.url, tried[i].SeedFile, tried[i].CredsFile, ""
		if conns[i], tried[i].err = bus.Connect(ctx, cfg); tried[i].err == nil {
			defer conns[i].Close()
		}
	}
	var trying sync.WaitGroup
	defer trying.Wait() // before the connections are closed
	for i := range tried {
		if tried[i].err == nil {
			trying.Go(func() { tried[i].err = tried[i].try(ctx, conns[i], conns, names) })
		}
	}
	return tried
}

// try makes all calls. Before and after, the credential is shown to work: what is refused then is refused to it.
func (t *roleTried) try(ctx context.Context, conn *bus.Conn, all []*bus.Conn, names []events.RecordName) error {
	var others []string
	for _, c := range all {
		if c != nil && c.InboxPrefix() != conn.InboxPrefix() {
			others = append(others, c.InboxPrefix())
		}
	}
	works := func() error {
		if _, err := conn.Inspect(ctx, bus.Keys); err != nil && !errors.Is(err, bus.ErrNoBucket) {
			return fmt.Errorf("the credential does not work: %w", err)
		}
		return nil
	}
	if err := works(); err != nil {
		return err
	}
	may := t.Role.Permissions(conn.InboxPrefix())
	for _, call := range bus.Calls(others, names...) {
		allowed, err := conn.Try(ctx, call)
		switch {
		case err != nil:
			return err
		case allowed && !may.May(call):
			t.too = append(t.too, call)
		case !allowed && may.May(call):
			t.tooFew = append(t.tooFew, call)
		case !allowed:
			t.refusals++
		}
	}
	return works()
}

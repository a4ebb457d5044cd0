package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/registry"
	"github.com/keyherald/keyherald/verifier"
)

type demoCmd struct {
	Verifiers int `help:"How many verifiers to connect, each as a service of its own would." default:"50" placeholder:"N"`
}

const (
	demoIssuer   = "http://127.0.0.1"
	demoAudience = "https://billing"
	demoClient   = events.Name("orders")
	demoPatience = 20 * time.Second // for any one step; each takes a fraction of it
	// demoPace is the pause between two requests at each verifier: all of them share this machine with the server.
	demoPace = 5 * time.Millisecond
)

// demo is the story's stage: a NATS server, a registry and verifiers, all connected by TCP.
type demo struct {
	*app
	dir       string
	server    *embedded.Server
	conn      *bus.Conn
	keys      *bus.KeySet
	registry  *registry.Registry
	verifiers []*verifier.Verifier
	token     string // of the client's first key
}

func (c *demoCmd) Run(ctx context.Context, a *app) error {
	if c.Verifiers < 1 || c.Verifiers > 500 {
		return usage("--verifiers is not from 1 to 500")
	}
	dir, err := os.MkdirTemp("", "keyherald-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{app: a, dir: dir, verifiers: make([]*verifier.Verifier, c.Verifiers)}
	defer d.close()
	began := time.Now()
	for _, step := range []func(context.Context) error{d.open, d.connect, d.mintAndVerify, d.rotate, d.revoke, d.outage} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("the demo did not go as told: %w", err)
		}
	}
	d.say("That was the whole story, in %s. Start your own: keyherald serve", round(time.Since(began)))
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func round(t time.Duration) time.Duration {
	if t < 10*time.Millisecond {
		return t.Round(10 * time.Microsecond)
	}
	return t.Round(time.Millisecond)
}

func (d *demo) close() {
	for _, v := range d.verifiers {
		if v != nil {
			v.Close()
		}
	}
	if d.keys != nil {
		d.keys.Close()
	}
	if d.conn != nil {
		d.conn.Close()
	}
	if d.server != nil {
		d.server.Close()
	}
}

// start starts the server, on the given address or a free one.
func (d *demo) start(ctx context.Context, listen string) (err error) {
	d.server, err = embedded.Start(ctx, embedded.Config{Dir: d.dir, Listen: listen, Logger: zerolog.Nop()})
	return err
}

func (d *demo) caller() registry.Caller { return registry.Caller{Name: "demo"} }

func (d *demo) open(ctx context.Context) error {
	began := time.Now()
	if err := d.start(ctx, ""); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	var err error
	if d.conn, err = bus.Connect(ctx, bus.Config{URL: d.server.URL(), SeedFile: d.server.KeyFile(bus.Operator)}); err != nil {
		return err
	}
	d.keys = d.conn.FollowKeys(zerolog.Nop())
	if err := d.keys.Wait(ctx); err != nil {
		return err
	}
	if d.registry, err = registry.New(registry.Config{Store: d.conn, Keys: d.keys}); err != nil {
		return err
	}
	if _, err := d.registry.EnsurePlatform(ctx, d.caller(), demoIssuer); err != nil {
		return err
	}
	d.say("1. A NATS server with the key buckets is up, every write synced to disk before it counts: %s.", round(time.Since(began)))
	return nil
}

func (d *demo) connect(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	errs := make([]error, len(d.verifiers))
	var group sync.WaitGroup
	for i := range d.verifiers {
		group.Go(func() {
			d.verifiers[i], errs[i] = verifier.Connect(ctx, verifier.Config{
				NATS: d.server.URL(), SeedFile: d.server.KeyFile(bus.Verifier), Audience: demoAudience, MaxStaleness: time.Hour,
			})
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.say("2. %d verifiers have connected, each with a key set of its own, known to be complete: %s.", len(d.verifiers), round(time.Since(began)))
	return nil
}

// everyone waits until all verifiers judge a token alike, and returns how long the slowest took.
func (d *demo) everyone(ctx context.Context, token string, accepts bool) (time.Duration, error) {
	began := time.Now()
	deadline := began.Add(demoPatience)
	for _, v := range d.verifiers {
		for {
			_, err := v.Verify(token)
			if (err == nil) == accepts {
				break
			}
			if time.Now().After(deadline) {
				return 0, fmt.Errorf("after %s a verifier still says: %v", demoPatience, err)
			}
			select {
			case <-time.After(100 * time.Microsecond):
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
	}
	return time.Since(began), nil
}

func (d *demo) mint(key *events.AccessKey) (string, error) {
	minter, err := mint.FromAccessKey(*key, demoIssuer)
	if err != nil {
		return "", err
	}
	return minter.Token(mint.Request{Audience: []string{demoAudience}, Scope: "billing:read", TTL: time.Minute})
}

func (d *demo) mintAndVerify(ctx context.Context) error {
	scope, err := events.ParseScope("billing:read billing:write")
	if err != nil {
		return err
	}
	if _, err := d.registry.CreateClient(ctx, d.caller(), demoClient, registry.ClientSpec{Scope: scope, Audience: []string{demoAudience}, Offline: true}); err != nil {
		return err
	}
	key, err := d.registry.AddKey(ctx, d.caller(), demoClient, registry.KeySpec{})
	if err != nil {
		return err
	}
	if d.token, err = d.mint(key.AccessKey); err != nil {
		return err
	}
	took, err := d.everyone(ctx, d.token, true)
	if err != nil {
		return err
	}
	d.say("3. The client orders is registered with a key, and has minted a token by itself. All %d verifiers accept it: %s after the\n"+
		"   registration was acknowledged.", len(d.verifiers), round(took))
	return nil
}

// rotate rotates the key while every verifier verifies tokens without pause: none may be refused.
func (d *demo) rotate(ctx context.Context) error {
	var current atomic.Pointer[string]
	current.Store(&d.token)
	var verified, refused atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for _, v := range d.verifiers {
		group.Go(func() {
			pace := time.NewTicker(demoPace)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				if _, err := v.Verify(*current.Load()); err != nil {
					refused.Add(1)
				}
				verified.Add(1)
			}
		})
	}
	began := time.Now()
	rotated, err := d.registry.RotateKey(ctx, d.caller(), demoClient, registry.Rotation{Overlap: time.Hour})
	var next string
	if err == nil {
		next, err = d.mint(rotated.New.AccessKey)
	}
	if err == nil {
		_, err = d.everyone(ctx, next, true)
	}
	took := time.Since(began)
	if err == nil { // a while with tokens of the new key
		current.Store(&next)
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	close(stop)
	group.Wait()
	if err != nil {
		return err
	}
	if n := refused.Load(); n > 0 {
		return fmt.Errorf("%d tokens were refused during the rotation", n)
	}
	d.say("4. The key was rotated while all verifiers went on verifying: %s until each took tokens of the new key, beside those of the\n"+
		"   old one, which has an end now. %d tokens were verified meanwhile, and none was refused.", round(took), verified.Load())
	return nil
}

func (d *demo) revoke(ctx context.Context) error {
	key, err := d.registry.AddKey(ctx, d.caller(), demoClient, registry.KeySpec{})
	if err != nil {
		return err
	}
	token, err := d.mint(key.AccessKey)
	if err != nil {
		return err
	}
	if _, err := d.everyone(ctx, token, true); err != nil {
		return err
	}
	began := time.Now()
	if _, err := d.registry.RevokeKey(ctx, d.caller(), demoClient, key.KeyID, "leaked"); err != nil {
		return err
	}
	written := time.Since(began)
	took, err := d.everyone(ctx, token, false)
	if err != nil {
		return err
	}
	d.say("5. A key was revoked. The write was acknowledged, and on disk, after %s; the last of %d verifiers refused its tokens %s later.",
		round(written), len(d.verifiers), round(took))
	return nil
}

// outage stops NATS, goes on verifying, and starts it again on the same address and data.
func (d *demo) outage(ctx context.Context) error {
	key, err := d.registry.AddKey(ctx, d.caller(), demoClient, registry.KeySpec{})
	if err != nil {
		return err
	}
	token, err := d.mint(key.AccessKey)
	if err != nil {
		return err
	}
	if _, err := d.everyone(ctx, token, true); err != nil {
		return err
	}
	listen := d.server.Addr().String()
	if err := d.server.Close(); err != nil {
		return err
	}
	const rounds = 20
	for range rounds {
		for _, v := range d.verifiers {
			if _, err := v.Verify(token); err != nil {
				return fmt.Errorf("with NATS stopped a verifier said: %w", err)
			}
		}
	}
	d.say("6. NATS is stopped. %d more tokens were verified without it: validation makes no network call.", rounds*len(d.verifiers))
	began := time.Now()
	if err := d.start(ctx, listen); err != nil {
		return err
	}
	up := time.Since(began)
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	select {
	case <-d.conn.Connected():
	case <-ctx.Done():
		return fmt.Errorf("connecting again: %w", ctx.Err())
	}
	if _, err := d.registry.RevokeKey(ctx, d.caller(), demoClient, key.KeyID, "the demo is over"); err != nil {
		return err
	}
	if _, err := d.everyone(ctx, token, false); err != nil {
		return err
	}
	d.say("   It is up again after %s, with all its data; a key was revoked, and %s after the restart every verifier had caught up and refused it.",
		round(up), round(time.Since(began)))
	return nil
}

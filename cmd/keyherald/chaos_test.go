package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/registry"
	"github.com/keyherald/keyherald/verifier"
)

// chaosTime is how long the nodes are killed; a longer run is go test -run Chaos -chaos 1m.
var chaosTime = flag.Duration("chaos", 8*time.Second, "how long TestChaos kills nodes")

// outcomes are what the clients met, by what the answer was.
type outcomes struct {
	issued, byKey, byAssertion atomic.Int64
	replaysRefused             atomic.Int64 // 401 for the second of two
	unavailable                atomic.Int64 // 503
	noAnswer                   atomic.Int64 // connection refused, or cut by the kill
	verifications              atomic.Int64
}

// chaos is a fleet under fire.
type chaos struct {
	t         *testing.T
	f         *foreign
	client    *http.Client
	verifiers []*verifier.Verifier
	next      atomic.Uint64 // node to ask, round robin
	met       outcomes

	mu     sync.Mutex
	nodes  []*issuerNode
	tokens []string
}

// member is one service client, which has an API key or a key pair.
type member struct {
	apiKey string
	minter *mint.Minter
}

// behindProxy lets 200 clients on one machine have addresses of their own: one address alone would be turned away for its replays.
var behindProxy = []string{"--trusted-proxy", "127.0.0.1"}

// TestChaos_NoIssuedTokenIsRefusedAndNoAssertionAcceptedTwiceWhileNodesAreKilled has three processes of the token service share nothing but a
// NATS server. They are killed with kill -9 and started again, one after the other, while 200 clients ask for tokens, and five
// verifiers judge each token at once, and all of them again in the end. Each assertion is sent to two nodes at the same time.
func TestChaos_NoIssuedTokenIsRefusedAndNoAssertionAcceptedTwiceWhileNodesAreKilled(t *testing.T) {
	t.Parallel()
	c := &chaos{t: t, f: withBuckets(t), client: &http.Client{
		Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 100},
	}}
	t.Cleanup(c.client.CloseIdleConnections)
	dir := filepath.Join(t.TempDir(), "d")
	c.nodes = []*issuerNode{startNode(t, c.f, append(c.f.withRegistry(dir), behindProxy...)...), launchNode(t, c.f, behindProxy...), launchNode(t, c.f, behindProxy...)}
	for _, n := range c.nodes {
		n.waitReady(t, n.addr)
	}
	for range 5 {
		c.verifiers = append(c.verifiers, c.f.verifier(t))
	}
	enrolled := time.Now()
	members := c.enrol(200)
	t.Logf("200 clients registered in %v", time.Since(enrolled).Round(time.Millisecond))

	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for _, m := range members {
		asking.Go(func() { c.ask(ctx, m) })
	}
	began, kills := time.Now(), 0
	for ; time.Since(began) < *chaosTime || kills < len(c.nodes); kills++ {
		c.kill(kills % len(c.nodes))
	}
	took := time.Since(began)
	stop()
	asking.Wait()

	var judging sync.WaitGroup
	for i := range c.verifiers {
		judging.Go(func() {
			for _, text := range c.tokens {
				c.verify("in the end", i, text)
			}
		})
	}
	judging.Wait()
	c.checkLeases(kills)
	m := &c.met
	t.Logf("%d kills in %v: %d tokens (%d by API key, %d by assertion), %d verifications, none refused; %d replays refused, %d answers 503, %d connections refused or cut",
		kills, took.Round(time.Millisecond), m.issued.Load(), m.byKey.Load(), m.byAssertion.Load(), m.verifications.Load(),
		m.replaysRefused.Load(), m.unavailable.Load(), m.noAnswer.Load())
	if m.byKey.Load() < 100 || m.byAssertion.Load() < 100 || m.replaysRefused.Load() < 100 || m.noAnswer.Load() == 0 {
		t.Error("that is too little to prove anything")
	}
}

// enrol registers clients, half of them with an API key and half with a key pair.
func (c *chaos) enrol(n int) []member {
	c.t.Helper()
	conn, err := bus.Connect(c.t.Context(), bus.Config{URL: c.f.url, SeedFile: c.f.key(bus.Operator)})
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	keys := conn.FollowKeys(zerolog.Nop())
	defer keys.Close()
	if err := keys.Wait(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	members := make([]member, n)
	var enrolling sync.WaitGroup
	const desks = 8 // a registry does one thing at a time
	for desk := range desks {
		reg, err := registry.New(registry.Config{Store: conn, Keys: keys})
		if err != nil {
			c.t.Fatal(err)
		}
		enrolling.Go(func() {
			for i := desk; i < n; i += desks {
				var err error
				if members[i], err = enrol(c.t.Context(), reg, events.Name(fmt.Sprint("c", i)), i%2 == 0); err != nil {
					c.t.Error(err)
					return
				}
			}
		})
	}
	if enrolling.Wait(); c.t.Failed() {
		c.t.FailNow()
	}
	return members
}

func enrol(ctx context.Context, reg *registry.Registry, name events.Name, byKey bool) (m member, err error) {
	by := registry.Caller{Name: "test"}
	if _, err := reg.CreateClient(ctx, by, name, registry.ClientSpec{Audience: []string{"https://billing"}}); err != nil {
		return m, err
	}
	if byKey {
		secret, err := reg.AddSecret(ctx, by, name, time.Time{})
		if err != nil {
			return m, err
		}
		return member{apiKey: secret.Key.Reveal()}, nil
	}
	key, err := reg.AddKey(ctx, by, name, registry.KeySpec{})
	if err != nil {
		return m, err
	}
	m.minter, err = mint.FromAccessKey(*key.AccessKey, nodesIssuer)
	return m, err
}

// ask is the life of a client.
func (c *chaos) ask(ctx context.Context, m member) {
	for ctx.Err() == nil {
		if m.minter == nil {
			c.byKey(m.apiKey)
		} else {
			c.byAssertion(m.minter)
		}
		select {
		case <-time.After(200*time.Millisecond + rand.N(400*time.Millisecond)): // the pace of a client
		case <-ctx.Done():
		}
	}
}

func (c *chaos) byKey(apiKey string) {
	if c.request(c.next.Add(1), url.Values{"client_secret": {apiKey}}) == http.StatusOK {
		c.met.byKey.Add(1)
	}
}

// byAssertion sends one assertion to two nodes, as client authentication or as the grant.
func (c *chaos) byAssertion(minter *mint.Minter) {
	first := c.next.Add(1)
	params := url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	make, name := minter.Assertion, "client_assertion"
	if first%2 == 0 {
		params = url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}}
		make, name = minter.GrantAssertion, "assertion"
	}
	assertion, err := make(nodesIssuer)
	if err != nil {
		c.t.Error(err)
		return
	}
	params.Set(name, assertion)
	var both sync.WaitGroup
	var status [2]int
	for i := range status {
		both.Go(func() {
			status[i] = c.request(first+uint64(i), maps.Clone(params))
		})
	}
	both.Wait()
	accepted, refused := 0, 0
	for _, s := range status {
		switch s {
		case http.StatusOK:
			accepted++
		case http.StatusUnauthorized, http.StatusBadRequest, http.StatusTooManyRequests: // invalid_client, invalid_grant, or the limit of both
			refused++
		}
	}
	switch {
	case accepted == 2:
		c.t.Error("an assertion was accepted twice")
	case refused == 2:
		c.t.Error("an assertion was refused as used by both nodes that got it")
	}
	c.met.byAssertion.Add(int64(accepted))
	c.met.replaysRefused.Add(int64(refused))
}

// request asks a node, checks its answer, and has every verifier judge the token. It returns the status, or 0 if there was no answer.
func (c *chaos) request(node uint64, params url.Values) int {
	c.mu.Lock()
	n := c.nodes[node%uint64(len(c.nodes))]
	c.mu.Unlock()
	text, status, err := n.ask(c.client, params)
	switch {
	case wasCut(err):
		c.met.noAnswer.Add(1)
		return 0
	case err != nil:
		c.t.Errorf("%v", err)
	case status == http.StatusOK:
		c.met.issued.Add(1)
		for i := range c.verifiers {
			c.verify("at once", i, text)
		}
		c.mu.Lock()
		c.tokens = append(c.tokens, text)
		c.mu.Unlock()
	case status == http.StatusServiceUnavailable:
		c.met.unavailable.Add(1)
	case params.Has("client_secret"),
		status != http.StatusUnauthorized && status != http.StatusTooManyRequests && !(status == http.StatusBadRequest && params.Has("assertion")):
		c.t.Errorf("status %d", status)
	}
	return status
}

// wasCut reports whether there was no answer because the node was killed, before the request or while it was in hand.
func wasCut(err error) bool {
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return false
	}
	if strings.Contains(err.Error(), "server closed idle connection") { // an error of net/http that has no name
		return true
	}
	for _, cut := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, cut) {
			return true
		}
	}
	return false
}

func (c *chaos) verify(when string, verifier int, text string) {
	v := c.verifiers[verifier]
	if _, err := v.Verify(text); err != nil {
		c.t.Errorf("%s, verifier %d at %+v: %v", when, verifier, v.Status(), err)
	}
	c.met.verifications.Add(1)
}

// kill is kill -9, and a start at the same address as soon as the port is free.
func (c *chaos) kill(i int) {
	c.t.Helper()
	c.mu.Lock()
	old := c.nodes[i]
	c.mu.Unlock()
	old.kill()
	node := &issuerNode{startProcess(c.t, nodeArgs(c.f, old.addr, behindProxy...)...), old.addr}
	node.waitReady(c.t, node.addr)
	c.mu.Lock()
	c.nodes[i] = node
	c.mu.Unlock()
}

// checkLeases stops the nodes that are left. The keys of those that were killed must be good for two hours at most, and the keys of those
// that are stopped until the end of their last tokens.
func (c *chaos) checkLeases(kills int) {
	c.t.Helper()
	c.client.CloseIdleConnections()
	for _, n := range c.nodes {
		n.signal(c.t, syscall.SIGTERM, n.addr)
	}
	for _, n := range c.nodes {
		n.wait(c.t)
		if !n.cmd.ProcessState.Success() {
			c.t.Errorf("%v\n%s", n.cmd.ProcessState, n.err.String())
		}
	}
	now, killed, stopped := time.Now(), 0, 0
	for _, key := range c.f.follow(c.t).Keys().Keys(events.Platform) {
		switch left := time.Unix(key.Record.Expires, 0).Sub(now); {
		case left <= 16*time.Minute:
			stopped++
		case left <= 2*time.Hour:
			killed++
		default:
			c.t.Errorf("key %s is good for %v", key.KeyID, left)
		}
	}
	if killed != kills || stopped != len(c.nodes) {
		c.t.Errorf("%d keys of %d nodes that were killed, %d of %d that were stopped", killed, kills, stopped, len(c.nodes))
	}
}

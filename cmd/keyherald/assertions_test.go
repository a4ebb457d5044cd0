package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/issuer"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/registry"
)

// fleet is some nodes of the token service, wired as serve does it, that share nothing but a NATS server. The client orders has a key
// and an API key.
type fleet struct {
	t      *testing.T
	server *eventstest.NATS
	nodes  []*issuer.Node
	minter *mint.Minter
	apiKey events.APIKey
}

const fleetIssuer = "https://auth.example.com"

// newFleet starts a node at each of the addresses; an empty one is the server's own.
func newFleet(t *testing.T, server *eventstest.NATS, addresses ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, server: server, apiKey: events.NewAPIKey("orders")}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := (&events.Key{Algorithm: events.EdDSA, Public: private.Public()}).Encode("k1")
	if err != nil {
		t.Fatal(err)
	}
	client, err := (&events.Client{Secrets: []events.Secret{{ID: "s1", SHA256: f.apiKey.Hash()}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	server.Write(bus.Keys, "issuer.platform", `{"type":"platform","status":"active","iss":"`+fleetIssuer+`"}`)
	server.Write(bus.Keys, "issuer.orders", `{"type":"client","status":"active","aud":["https://billing"]}`)
	server.Write(bus.Keys, "key.orders.k1", string(key))
	server.Write(bus.Clients, "orders", string(client))
	if f.minter, err = mint.New(mint.Config{Issuer: fleetIssuer, Client: "orders", KeyID: "k1", Key: private}); err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if address == "" {
			address = server.URL()
		}
		f.nodes = append(f.nodes, f.node(server.ConnectAt(address, bus.Issuer)))
	}
	for _, node := range f.nodes {
		eventstest.Eventually(t, "the node can sign", func() bool { return node.Ready() == nil })
	}
	return f
}

func (f *fleet) node(conn *bus.Conn) *issuer.Node {
	f.t.Helper()
	keys, clients := conn.FollowKeys(zerolog.Nop()), conn.FollowClients(zerolog.Nop())
	f.t.Cleanup(func() { keys.Close(); clients.Close() })
	revoker, err := registry.New(registry.Config{Store: conn, Keys: keys})
	if err != nil {
		f.t.Fatal(err)
	}
	node, err := issuer.New(issuer.Config{
		Issuer: fleetIssuer, Keys: keys, Clients: clients, Leases: publishLeases(conn), Assertions: assertions{conn}, Revoke: revokeTokens(revoker),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := node.Run(ctx); err != nil {
			f.t.Error(err)
		}
	})
	f.t.Cleanup(func() { cancel(); running.Wait() })
	return node
}

// ask sends a token request to a node and returns the status, with the error of RFC 6749 §5.2.
func (f *fleet) ask(node *issuer.Node, params url.Values) (status int, code string) {
	r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(params.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	from := rand.Uint32() // an address that fails too often is turned away
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", from>>16&255, from>>8&255, from&255)
	w := httptest.NewRecorder()
	node.Handler().ServeHTTP(w, r)
	var answer struct{ Error string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		f.t.Errorf("status %d, body %q: %v", w.Code, w.Body, err)
	}
	if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		f.t.Error("503 without Retry-After")
	}
	return w.Code, answer.Error
}

func (f *fleet) assertion() url.Values {
	assertion, err := f.minter.Assertion("")
	if err != nil {
		f.t.Error(err)
	}
	return url.Values{"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
}

func (f *fleet) withKey() url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_secret": {f.apiKey.Reveal()}}
}

// askAll sends one request to all nodes at once and returns how many answered with each status.
func (f *fleet) askAll(params url.Values) map[int]int {
	var mu sync.Mutex
	var asking sync.WaitGroup
	counts := map[int]int{}
	for _, node := range f.nodes {
		asking.Go(func() {
			status, _ := f.ask(node, params)
			mu.Lock()
			defer mu.Unlock()
			counts[status]++
		})
	}
	asking.Wait()
	return counts
}

func TestI9_OneAssertionSentToTwoNodesAtOnceIsAcceptedOnce(t *testing.T) {
	f := newFleet(t, eventstest.Server(t), "", "")
	for round := range 100 {
		params := f.assertion()
		if counts := f.askAll(params); counts[200] != 1 || counts[401]+counts[429] != 1 { // 429: as the limit of failures says from some round on
			t.Fatalf("round %d: %v, want one 200 and one refusal", round, counts)
		}
		if round%10 == 0 {
			if counts := f.askAll(params); counts[401]+counts[429] != 2 {
				t.Fatalf("round %d, again: %v, want a refusal of both", round, counts)
			}
		}
	}
	if counts := f.askAll(f.withKey()); counts[200] != 2 {
		t.Errorf("an API key: %v", counts)
	}
}

func TestI9_WithoutNATSAssertionsAreRefusedFor503AndAPIKeysGoOn(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	f := newFleet(t, server, "", "")
	before, during := f.assertion(), f.assertion()
	if status, code := f.ask(f.nodes[0], before); status != 200 {
		t.Fatalf("status %d, error %s", status, code)
	}
	server.Stop()
	for i, node := range f.nodes {
		if status, code := f.ask(node, during); status != 503 || code != "temporarily_unavailable" {
			t.Errorf("node %d, an assertion: status %d, error %s, want 503", i, status, code)
		}
		if status, code := f.ask(node, f.withKey()); status != 200 {
			t.Errorf("node %d, an API key: status %d, error %s", i, status, code)
		}
	}
	server.Start()
	eventstest.Eventually(t, "assertions are accepted again", func() bool {
		fresh := f.assertion()
		counts := f.askAll(fresh)
		if counts[200] > 1 {
			t.Fatalf("one assertion, accepted by both: %v", counts)
		}
		return counts[200] == 1 && counts[401]+counts[429] == 1
	})
	if counts := f.askAll(before); counts[401] != 2 {
		t.Errorf("what was used before NATS was away: %v, want 401 of both", counts)
	}
	if counts := f.askAll(during); counts[200] > 1 {
		t.Errorf("what was sent while NATS was away: %v, want one 200 at most", counts)
	}
}

func TestI9_NoAssertionIsAcceptedTwiceWhileTheServerComesAndGoes(t *testing.T) {
	server := eventstest.Server(t)
	f := newFleet(t, server, "", "")
	var restarting sync.WaitGroup
	done := make(chan struct{})
	restarting.Go(func() {
		defer close(done)
		for range 3 {
			server.Stop()
			server.Start()
		}
	})
	accepted := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		params := f.assertion()
		first, second := f.askAll(params), f.askAll(params) // as a client does that was told to try again
		if n := first[200] + second[200]; n > 1 {
			t.Fatalf("one assertion was accepted %d times: %v, then %v", n, first, second)
		} else {
			accepted += n
		}
		if other := first[200] + first[401] + first[429] + first[503]; other != 2 {
			t.Fatalf("statuses %v", first)
		}
	}
	restarting.Wait()
	eventstest.Eventually(t, "assertions are accepted again", func() bool { return f.askAll(f.assertion())[200] == 1 })
	t.Logf("%d assertions were accepted meanwhile", accepted)
}

func TestI9_ANetworkThatAnswersNothingIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	proxy := eventstest.NewProxy(t, server.URL())
	f := newFleet(t, server, "", proxy.URL())
	for _, fault := range []struct {
		name string
		do   func()
	}{{"frozen", proxy.Freeze}, {"mute", proxy.Mute}} {
		t.Run(fault.name, func(t *testing.T) {
			params := f.assertion()
			fault.do()
			start := time.Now()
			if status, code := f.ask(f.nodes[1], params); status != 503 {
				t.Errorf("status %d, error %s, want 503", status, code)
			}
			if waited := time.Since(start); waited > eventstest.Patience {
				t.Errorf("answered after %v", waited)
			}
			if status, code := f.ask(f.nodes[1], f.withKey()); status != 200 {
				t.Errorf("an API key: status %d, error %s", status, code)
			}
			proxy.Mend()
			// Whether it was used is not known; by now it must not be accepted by more than one.
			if counts := f.askAll(params); counts[200] > 1 {
				t.Errorf("accepted by both: %v", counts)
			}
			eventstest.Eventually(t, "assertions are accepted again", func() bool {
				status, _ := f.ask(f.nodes[1], f.assertion())
				return status == 200
			})
		})
	}
}

func TestI9_TheMemoryTellsClientsAndIDsApart(t *testing.T) {
	conn := eventstest.Server(t).Connect(bus.Issuer)
	memory := assertions{conn}
	for _, use := range []struct {
		client events.Name
		jti    string
		fresh  bool
	}{
		{"ab", "c", true}, {"a", "bc", true}, {"ab", "c", false}, {"ab", "C", true}, {"a", "b\nc", true}, {"a", "bc", false},
		{"a", strings.Repeat("j", 8000), true}, {"a", strings.Repeat("j", 8000), false}, {"a", "$KV.KEYS.x > * .", true},
	} {
		err := memory.Use(t.Context(), use.client, use.jti, time.Time{})
		if (err == nil) != use.fresh {
			t.Errorf("%s with %.20q: %v, want fresh: %v", use.client, use.jti, err, use.fresh)
		}
	}
	// What can be remembered outlives what can be accepted: an hour, with clocks that are off by as much as is allowed on both ends.
	const longest = time.Hour + 2*events.MaxLeeway
	if kept := bus.StreamConfig(bus.Assertions, 1).MaxAge; kept < longest {
		t.Errorf("the bucket keeps a use for %v, an assertion can be accepted for %v", kept, longest)
	}
}

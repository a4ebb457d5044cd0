//go:build unix

package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/issuer"
)

const (
	issuerURL   = "https://auth.example.com"
	audience    = "https://billing.example.com"
	clientCount = 1000
)

// clientName is of the length of those that the registry makes.
func clientName(i int) events.Name { return events.Name(fmt.Sprintf("sc_%022d", i)) }

// clientKey is the same in both processes.
func clientKey(i int) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(clientName(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newHandler(kind serverKind) (handler http.Handler, apiKeys []string, stop func(), err error) {
	switch kind {
	case bareSign, bareVerifySign:
		handler, err = newBare(kind == bareVerifySign)
		return handler, nil, func() {}, err
	case nodeForgetful:
		return newNode(forgetful{}, func() {})
	case nodeNATS:
		memory, stop, err := openNATS()
		if err != nil {
			return nil, nil, nil, err
		}
		return newNode(memory, stop)
	}
	return nil, nil, nil, fmt.Errorf("no such server: %s", kind)
}

// newBare returns a handler that does what no token endpoint can do without.
func newBare(verify bool) (http.Handler, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	assertion, claims := []byte(strings.Repeat("a", 306)), []byte(strings.Repeat("t", 439)) // what the node verifies and signs is as long
	signature := ed25519.Sign(private, assertion)
	answer, err := json.Marshal(map[string]any{"access_token": string(claims) + strings.Repeat("s", 87), "token_type": "Bearer",
		"expires_in": 900, "scope": "billing:read billing:write"})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil || verify && !ed25519.Verify(public, assertion, signature) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		ed25519.Sign(private, claims)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}), nil
}

// newNode returns the endpoints of a running node.
func newNode(memory issuer.ReplayMemory, stopMemory func()) (http.Handler, []string, func(), error) {
	r := newRecords()
	apiKeys, err := r.fill()
	if err != nil {
		return nil, nil, nil, err
	}
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, nil, err
	}
	metrics, err := issuer.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return nil, nil, nil, err
	}
	revoke := func(context.Context, events.Name, events.TokenID, time.Time) error { return errors.ErrUnsupported }
	node, err := issuer.New(issuer.Config{
		Issuer: issuerURL, Keys: r, Clients: r, Leases: r.publish, Assertions: memory, Revoke: revoke, Metrics: metrics,
		Logger: zerolog.New(out).With().Timestamp().Logger(),
	})
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	stop := func() {
		cancel()
		<-done
		stopMemory()
		out.Close()
	}
	for deadline := time.Now().Add(time.Minute); node.Ready() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			stop()
			return nil, nil, nil, node.Ready()
		}
	}
	return node.Handler(), apiKeys, stop, nil
}

// records are KEYS and CLIENTS in memory.
type records struct {
	keys     *events.Set
	clients  *events.Clients
	start    time.Time
	revision atomic.Uint64 // written by one goroutine at a time: that of fill, then that of the node
}

func (r *records) Revocations() *events.Revocations { return events.NewRevocations(nil) }

func newRecords() *records {
	return &records{keys: events.NewSet(nil), clients: events.NewClients(), start: time.Now()}
}

func (r *records) Keys() *events.Set                      { return r.keys }
func (r *records) Client(name events.Name) *events.Client { return r.clients.Client(name) }
func (r *records) Confirmed() time.Time                   { return r.start }

func (r *records) publish(_ context.Context, kid events.KeyID, record []byte, _ uint64, _ time.Duration) (uint64, error) {
	return r.put(events.KeyRecord(events.Platform, kid).String(), record), nil
}

func (r *records) put(name string, value []byte) uint64 {
	revision := r.revision.Add(1)
	r.keys.Apply(events.Entry{Name: name, Value: value, Revision: revision, Time: time.Now()})
	return revision
}

// fill registers the clients, each with a key and an API key.
func (r *records) fill() (apiKeys []string, err error) {
	r.put("issuer.platform", []byte(`{"type":"platform","status":"active","iss":"`+issuerURL+`"}`))
	for i := range clientCount {
		name := clientName(i)
		key := events.Key{Algorithm: events.EdDSA, Public: clientKey(i).Public()}
		encoded, err := key.Encode("k1")
		if err != nil {
			return nil, err
		}
		apiKey := events.NewAPIKey(name)
		apiKeys = append(apiKeys, apiKey.Reveal())
		client, err := (&events.Client{Secrets: []events.Secret{{ID: "s1", SHA256: apiKey.Hash()}}}).Encode()
		if err != nil {
			return nil, err
		}
		r.put("issuer."+string(name), []byte(`{"type":"client","status":"active","aud":["`+audience+`"],"scope":"billing:read billing:write","offline":true}`))
		r.put(events.KeyRecord(name, "k1").String(), encoded)
		r.clients.Apply(events.Entry{Name: string(name), Value: client, Revision: uint64(i + 1), Time: time.Now()})
	}
	if issuers, keys := r.keys.Len(); issuers != clientCount+1 || keys != clientCount {
		return nil, fmt.Errorf("%d issuers and %d keys were taken", issuers, keys)
	}
	return apiKeys, nil
}

// forgetful is a replay memory that costs nothing, and so is none.
type forgetful struct{}

func (forgetful) Use(context.Context, events.Name, string, time.Time) error { return nil }

// natsMemory is the replay memory as the command serve wires it.
type natsMemory struct{ conn *bus.Conn }

func (m natsMemory) Use(ctx context.Context, client events.Name, jti string, _ time.Time) error {
	sum := sha256.Sum256([]byte(string(client) + "\n" + jti))
	_, err := m.conn.Put(ctx, bus.Put{Bucket: bus.Assertions, Name: base64.RawURLEncoding.EncodeToString(sum[:]), Caller: "issuer"})
	if errors.Is(err, bus.ErrConflict) {
		return issuer.ErrReplayed
	}
	return err
}

// openNATS starts a server that has each write on the disk before it acknowledges it.
func openNATS() (issuer.ReplayMemory, func(), error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	server, err := embedded.Start(ctx, embedded.Config{Dir: os.TempDir() + "/data"})
	if err != nil {
		return nil, nil, err
	}
	conn, err := bus.Connect(ctx, bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Issuer)})
	if err != nil {
		server.Close()
		return nil, nil, err
	}
	return natsMemory{conn}, func() { conn.Close(); server.Close() }, nil
}

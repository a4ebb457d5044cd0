package issuer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestP7_ThePrivateKeyOfANodeIsNowhere runs a node on a real server with everything logged, lets it issue, fail, rotate and stop, and then looks
// for its private keys, in every form that somebody could have written them in, in all that it left behind. Then it plants one in each
// of these places and looks again.
func TestP7_ThePrivateKeyOfANodeIsNowhere(t *testing.T) {
	for name, given := range map[string]bool{"keys of its own": false, "a given key": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, given)
			w.live(given)
			needles := map[string][]byte{}
			for i, key := range w.keys {
				for form, needle := range formsOf(key) {
					needles[fmt.Sprintf("key %d as %s", i, form)] = needle
				}
			}
			places := w.places()
			for where, control := range map[string]string{
				"messages": `"kty":"OKP"`, "headers": "issuer", "log": "token issued", "answers": "access_token", "printed values and errors": "signingKey",
			} {
				if !bytes.Contains(places[where], []byte(control)) {
					t.Fatalf("%s: there is no %s: the test would prove nothing", where, control)
				}
			}
			for where, text := range places {
				for _, found := range find(text, needles) {
					t.Errorf("%s: %s", where, found)
				}
			}
			w.plant(w.keys[0])
			for where, text := range w.places() {
				if len(find(text, needles)) == 0 && where != "files of the bus" { // of which there are some without a record
					t.Errorf("%s: a key that was planted there is not found", where)
				}
			}
			for form, needle := range formsOf(w.keys[0]) {
				if text := bytes.Join([][]byte{[]byte("…"), needle, []byte("…")}, nil); len(find(text, needles)) == 0 {
					t.Errorf("as %s it is not found", form)
				}
			}
		})
	}
}

// find returns the names of the needles that are in text.
func find(text []byte, needles map[string][]byte) (found []string) {
	for what, needle := range needles {
		if bytes.Contains(text, needle) {
			found = append(found, what)
		}
	}
	return found
}

// formsOf lists how a private key can be written down: the seed, and the two halves of its hash, of which one is the scalar and one makes the
// nonces (RFC 8032 §5.1.5), forwards and backwards, in the usual encodings. In base64 there are three ways, depending on what comes before: the
// middle of each is looked for. Of PKCS#8 and of the 64 bytes that Go uses the seed is a part.
func formsOf(key ed25519.PrivateKey) map[string][]byte {
	hash := sha512.Sum512(key.Seed())
	scalar := bytes.Clone(hash[:32])
	scalar[0], scalar[31] = scalar[0]&248, scalar[31]&127|64
	forms := map[string][]byte{}
	for what, raw := range map[string][]byte{"seed": key.Seed(), "hash": hash[:32], "scalar": scalar, "nonce half": hash[32:]} {
		backwards := bytes.Clone(raw)
		slices.Reverse(backwards)
		for order, b := range map[string][]byte{"": raw, " backwards": backwards} {
			add := func(form, text string) { forms[what+order+" "+form] = []byte(text) }
			add("raw", string(b))
			add("hex", hex.EncodeToString(b))
			add("HEX", strings.ToUpper(hex.EncodeToString(b)))
			add("%d", strings.Trim(fmt.Sprint(b), "[]"))
			add("JSON", strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ","))
			add("%#v", strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"))
			add("%q", strings.Trim(fmt.Sprintf("%q", b), `"`))
			for shift := range 3 {
				shifted := append(make([]byte, shift), b...)
				for encoding, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
					text := e.EncodeToString(shifted)
					add(fmt.Sprintf("%s after %d", encoding, shift), text[4:len(text)-4])
				}
			}
		}
	}
	return forms
}

// world is a node on a real server, and all that it says.
type world struct {
	*fixture
	nats    *eventstest.NATS
	log     eventstest.Log
	answers eventstest.Log
	printed eventstest.Log // of its values
	mu      sync.Mutex
	keys    []ed25519.PrivateKey // with which the node has signed
}

func newWorld(t *testing.T, given bool) *world {
	w := &world{nats: eventstest.Server(t)}
	w.nats.Write(bus.Keys, "issuer.platform", `{"type":"platform","status":"active","iss":"`+testIssuer+`"}`)
	w.nats.Write(bus.Keys, "issuer.orders", ordersJSON)
	log := zerolog.New(&w.log).Level(zerolog.TraceLevel)
	conn := w.nats.Connect(bus.Issuer)
	keys, clients := conn.FollowKeys(log), conn.FollowClients(log)
	t.Cleanup(func() { keys.Close(); clients.Close() })
	if err := errors.Join(keys.Wait(t.Context()), clients.Wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	w.fixture = newFixture(t, func(c *Config) {
		c.Keys, c.Clients, c.Logger = keys, clients, log
		c.Leases = func(ctx context.Context, kid events.KeyID, record []byte, replaces uint64, ttl time.Duration) (uint64, error) {
			return conn.Put(ctx, bus.Put{
				Bucket: bus.Keys, Name: events.KeyRecord(events.Platform, kid).String(), Value: record, Replaces: replaces, TTL: ttl, Caller: "issuer",
			})
		}
		if given {
			key := newPrivateKey(t)
			w.keys, c.SigningKey = append(w.keys, key), key
		}
	})
	w.node.ring.rotation = 3 * time.Second // less than a configuration may say
	w.node.ring.generate = func() (*signingKey, error) {
		key := newPrivateKey(t)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.keys = append(w.keys, key)
		return hide(key)
	}
	client, err := (&events.Client{Secrets: []events.Secret{{ID: "s1", SHA256: w.apiKey.Hash()}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.nats.Write(bus.Keys, "key.orders.k1", encodeKey(t, "k1", events.Key{Public: w.private.Public()}))
	w.nats.Write(bus.Clients, "orders", string(client))
	return w
}

// live is the life of the node.
func (w *world) live(given bool) {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.node.Run(ctx) }()
	w.talk()
	eventstest.Eventually(w.t, "the node is ready", func() bool { return w.node.Ready() == nil })
	w.talk()
	kid := w.kid()
	if !given {
		eventstest.Eventually(w.t, "the key rotates", func() bool { return w.kid() != kid })
	}
	w.talk()
	current := w.node.ring.current.Load()
	w.nats.Stop() // the end of the lease cannot be written: errors are the likelier leak
	w.talk()
	stop()
	if err := <-done; err != nil {
		w.t.Error(err)
	}
	w.talk()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		fmt.Fprintf(&w.printed, verb+"\n", w.node)
		fmt.Fprintf(&w.printed, verb+"\n", &w.node.ring) // what is behind pointers is not printed
		fmt.Fprintf(&w.printed, verb+"\n", current)
		fmt.Fprintf(&w.printed, verb+"\n", w.node.ring.leases)
	}
	w.nats.Start()
}

// talk asks the node everything once, and keeps the answers.
func (w *world) talk() {
	assertion, err := w.minter().Assertion(testIssuer)
	if err != nil {
		w.t.Fatal(err)
	}
	requests := []*http.Request{
		w.withKey(), withAssertion(assertion), withAssertion(assertion), w.withKey("scope", "too:much"), tokenRequestWith("grant_type", "client_credentials"),
	}
	for _, path := range []string{
		"/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/readyz", "/healthz", "/v1/clients/orders/.well-known/openid-configuration/jwks",
	} {
		requests = append(requests, httptest.NewRequest("GET", path, nil))
	}
	for _, r := range requests {
		answer := w.do(r)
		fmt.Fprintln(&w.answers, answer.Code, answer.Header(), answer.Body)
	}
	if err := w.node.Ready(); err != nil {
		fmt.Fprintln(&w.printed, err)
	}
}

// places is all that the node has left behind, by where.
func (w *world) places() map[string][]byte {
	w.t.Helper()
	places := map[string][]byte{
		"log": []byte(w.log.String()), "answers": []byte(w.answers.String()), "printed values and errors": []byte(w.printed.String()),
	}
	js := w.nats.Admin()
	for _, b := range bus.Buckets() {
		stream, err := js.Stream(w.t.Context(), b.Stream())
		if err != nil {
			w.t.Fatal(err)
		}
		for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
			msg, err := stream.GetMsg(w.t.Context(), sequence)
			if err != nil {
				w.t.Fatalf("message %d of %s: %v", sequence, b, err)
			}
			places["messages"] = fmt.Appendf(places["messages"], "%s\n%s\n", msg.Subject, msg.Data)
			for name, values := range msg.Header {
				places["headers"] = fmt.Appendf(places["headers"], "%s: %s\n", name, values)
			}
		}
	}
	maps.Copy(places, w.files())
	return places
}

func (w *world) files() map[string][]byte {
	w.t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(w.nats.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // the server is at work
			return nil
		case strings.HasSuffix(path, ".blk") && bytes.Contains(text, []byte("key.platform.")):
			files["file of the records"] = text
		case strings.HasSuffix(path, "planted"):
			files["file in the directory"] = text
		default:
			files["files of the bus"] = append(files["files of the bus"], text...)
		}
		return err
	})
	if err != nil || len(files["file of the records"]) == 0 {
		w.t.Fatalf("the records were not found in %s: %v", w.nats.Dir(), err)
	}
	return files
}

// plant leaves a key behind in each place, each time in another form.
func (w *world) plant(key ed25519.PrivateKey) {
	der := pkcs8(w.t, key)
	w.nats.Publish(bus.Keys, "key.platform.planted", base64.StdEncoding.EncodeToString(der), map[string][]string{"Planted": {hex.EncodeToString(key.Seed())}})
	fmt.Fprintf(&w.log, `{"key":"%s"}`, base64.RawURLEncoding.EncodeToString(key))
	fmt.Fprintf(&w.answers, `{"d":"%s"}`, base64.RawURLEncoding.EncodeToString(key.Seed()))
	fmt.Fprintf(&w.printed, "%#v", struct{ key ed25519.PrivateKey }{key})
	if err := os.WriteFile(filepath.Join(w.nats.Dir(), "planted"), der, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

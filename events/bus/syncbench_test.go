package bus_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

var benchKeys = flag.Int("keys", 20_000, "how many keys BenchmarkSync reads")

// BenchmarkSync is the time from having a connection to a complete key set, on a server with the settings of production that was opened
// with the keys in its store: s/sync, with a bar of 12 for a million keys of a thousand issuers, and heapB/key, what the process
// has more on its heap then, with a bar of 600. The server is another process on the same machine. The bars are for
//
//	go test -run '^$' -bench Sync -benchtime 3x -timeout 30m ./events/bus -keys 1000000
//
// which takes some minutes; with -cpuprofile or -memprofile, it shows only what the reader does.
func BenchmarkSync(b *testing.B) {
	for _, issuers := range []int{min(1000, *benchKeys), *benchKeys} {
		b.Run(fmt.Sprintf("keys=%d/issuers=%d", *benchKeys, issuers), func(b *testing.B) {
			measureSync(b, startFilled(b, *benchKeys, issuers), nil, issuers+1, *benchKeys)
		})
	}
}

// BenchmarkFollowSome is BenchmarkSync for a verifier that follows three of as many clients as there are keys.
func BenchmarkFollowSome(b *testing.B) {
	server := startFilled(b, *benchKeys, *benchKeys)
	some := []events.Name{events.Platform, nameOf(0), nameOf(*benchKeys / 2), nameOf(*benchKeys - 1)}
	measureSync(b, server, some, len(some), len(some)-1)
}

// measureSync reads what is to be followed, all of it or that of some issuers, and reports the time that takes, and the heap for each key.
func measureSync(b *testing.B, server filled, follow []events.Name, issuers, keys int) {
	conn, err := bus.Connect(b.Context(), bus.Config{URL: server.URL, SeedFile: server.SeedFile})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	var used uint64
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		set := conn.FollowKeySet(bus.KeySetConfig{Issuers: follow})
		if err := set.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		used = max(heap(), before) - before
		if haveIssuers, haveKeys := set.Keys().Len(); haveIssuers != issuers || haveKeys != keys {
			b.Fatalf("%d keys of %d issuers", haveKeys, haveIssuers)
		}
		set.Close()
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/sync")
	b.ReportMetric(float64(used), "heapB")
	b.ReportMetric(float64(used)/float64(keys), "heapB/key")
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one has made unreachable by finalizers
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The environment of a server in a process of its own. See TestMain.
const (
	envFilledDir     = "KEYHERALD_FILLED_DIR"
	envFilledKeys    = "KEYHERALD_FILLED_KEYS"
	envFilledIssuers = "KEYHERALD_FILLED_ISSUERS"
)

// filled is a server in a process of its own, with many keys.
type filled struct{ URL, SeedFile string }

// startFilled starts one that ends with the benchmark.
func startFilled(b *testing.B, keys, issuers int) (f filled) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envFilledDir+"="+b.TempDir(), envFilledKeys+"="+strconv.Itoa(keys), envFilledIssuers+"="+strconv.Itoa(issuers))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("the server: %v", err)
		}
	})
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&f); err != nil {
		b.Fatalf("the server did not start: %v", err)
	}
	return f
}

// serveFilled is the child: it fills a store, opens it again and serves it until its input ends.
func serveFilled(dir string) error {
	keys, _ := strconv.Atoi(os.Getenv(envFilledKeys))
	issuers, err := strconv.Atoi(os.Getenv(envFilledIssuers))
	if err != nil {
		return err
	}
	if err := fillStore(dir, keys, issuers); err != nil {
		return err
	}
	runtime.GC()
	server, err := embedded.Start(context.Background(), embedded.Config{Dir: dir})
	if err != nil {
		return err
	}
	err = json.NewEncoder(os.Stdout).Encode(filled{server.URL(), server.KeyFile(bus.Verifier)})
	_, reading := io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, reading, server.Close())
}

// fillStore writes keys and the clients that have them, as fast as a server takes them that does not sync.
func fillStore(dir string, keys, issuers int) (err error) {
	server, err := embedded.Start(context.Background(), embedded.Config{Dir: dir, SyncInterval: time.Minute})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	conn, err := bus.Connect(context.Background(), bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Operator)})
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn.JetStream().Conn(), jetstream.WithPublishAsyncMaxPending(10_000))
	if err != nil {
		return err
	}
	put := func(name string, value []byte) error {
		_, err := js.PublishAsync(bus.Keys.Subject(name), value, jetstream.WithStallWait(time.Minute))
		return err
	}
	err = put("issuer.platform", []byte(`{"type":"platform","status":"active","iss":"http://127.0.0.1:8080","account":"acc-0123456789"}`))
	client := []byte(`{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read billing:write","offline":true}`)
	for i := 0; i < issuers && err == nil; i++ {
		err = put("issuer."+string(nameOf(i)), client)
	}
	errs := make([]error, runtime.GOMAXPROCS(0)) // making keys is most of the work
	var group sync.WaitGroup
	for w := range errs {
		group.Go(func() {
			for i := w; i < keys && errs[w] == nil; i += len(errs) {
				errs[w] = put(events.KeyRecord(nameOf(i%issuers), events.KeyID(fmt.Sprintf("%06d", i))).String(), keyRecord(i))
			}
		})
	}
	group.Wait()
	<-js.PublishAsyncComplete()
	return errors.Join(err, errors.Join(errs...))
}

// nameOf is of the length of those that the registry makes.
func nameOf(i int) events.Name { return events.Name(fmt.Sprintf("sc_%022d", i)) }

// keyRecord is a key as the registry writes it.
func keyRecord(i int) []byte {
	var seed [ed25519.SeedSize]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	return fmt.Appendf(nil, `{"kty":"OKP","crv":"Ed25519","x":"%s","alg":"EdDSA","use":"sig","kid":"%06d","iat":1790000000}`,
		base64.RawURLEncoding.EncodeToString(public), i)
}

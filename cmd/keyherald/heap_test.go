package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

// memory is what a process says of its memory.
type memory struct {
	Heap    uint64 // live after a collection, in bytes
	Sys     uint64 // what the runtime has from the system
	RSS     uint64 // zero where there is no /proc
	PeakRSS uint64
}

// heapProfile is the environment variable that names the file for a heap profile of the measured process.
const heapProfile = "KEYHERALD_HEAP_PROFILE"

// measured is the program itself, in which a line on the standard input is answered with a [memory] on file descriptor 3.
func measured() {
	go func() {
		out := json.NewEncoder(os.NewFile(3, "answers"))
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if err := out.Encode(measure()); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	main()
}

func measure() memory {
	runtime.GC()
	runtime.GC() // what the first one has made unreachable by finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if name := os.Getenv(heapProfile); name != "" {
		if file, err := os.Create(name); err == nil {
			_ = pprof.WriteHeapProfile(file)
			file.Close()
		}
	}
	return memory{Heap: m.HeapAlloc, Sys: m.Sys, RSS: procStatus("VmRSS:"), PeakRSS: procStatus("VmHWM:")}
}

// procStatus is a size in what Linux says of this process, in bytes.
func procStatus(field string) uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), field)
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// BenchmarkServeHeap starts serve on a registry of 100,000 clients, each with one key, and reports what its process needs, with its
// embedded NATS server: MiB-heap live after a collection, with a bar of 150, and MiB-rss. With api-keys=1 each client has an API
// key, too. Run it with
//
//	go test -run '^$' -bench ServeHeap -benchtime 1x ./cmd/keyherald
//
// and with KEYHERALD_HEAP_PROFILE=FILE for a profile of where it goes.
func BenchmarkServeHeap(b *testing.B) {
	const clients = 100_000
	for _, apiKeys := range []int{0, 1} {
		b.Run(fmt.Sprintf("clients=%d/api-keys=%d", clients, apiKeys), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "d")
			fillRegistry(b, dir, clients, apiKeys)
			for b.Loop() {
				used := serveAndMeasure(b, dir)
				b.ReportMetric(float64(used.Heap)/(1<<20), "MiB-heap")
				b.ReportMetric(float64(used.RSS)/(1<<20), "MiB-rss")
				b.ReportMetric(float64(used.PeakRSS)/(1<<20), "MiB-peak-rss")
				b.ReportMetric(float64(used.Heap)/clients, "B-heap/client")
			}
		})
	}
}

// fillRegistry writes the records of a registry as an operator may, into a server that will be started again for real.
func fillRegistry(b *testing.B, dir string, clients, apiKeys int) {
	b.Helper()
	server, err := embedded.Start(b.Context(), embedded.Config{Dir: dir, SyncInterval: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			b.Error(err)
		}
	}()
	conn, err := bus.Connect(b.Context(), bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Operator)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	js := conn.JetStream()
	for i := range clients {
		name := events.Name(fmt.Sprintf("sc_%022d", i)) // as long as those that the registry makes
		put(b, js, bus.Keys, "issuer."+string(name), `{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read billing:write","offline":true}`)
		putKey(b, js, name, i)
		if apiKeys == 0 {
			continue
		}
		record := events.Client{Secrets: []events.Secret{{ID: "s1", SHA256: events.NewAPIKey(name).Hash(), IssuedAt: 1790000000}}}
		value, err := record.Encode()
		if err != nil {
			b.Fatal(err)
		}
		put(b, js, bus.Clients, string(name), string(value))
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-b.Context().Done():
		b.Fatal("the server did not take all records")
	}
}

func put(b *testing.B, js jetstream.JetStream, bucket bus.Bucket, name, value string) {
	b.Helper()
	if _, err := js.PublishAsync(bucket.Subject(name), []byte(value)); err != nil {
		b.Fatal(err)
	}
}

// putKey registers a key under a kid of six characters, as the registry does unless told otherwise.
func putKey(b *testing.B, js jetstream.JetStream, name events.Name, i int) {
	b.Helper()
	var seed [ed25519.SeedSize]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i))
	key := events.Key{Algorithm: events.EdDSA, Public: ed25519.NewKeyFromSeed(seed[:]).Public(), IssuedAt: 1790000000}
	kid := events.KeyID(fmt.Sprintf("%06d", i))
	value, err := key.Encode(kid)
	if err != nil {
		b.Fatal(err)
	}
	put(b, js, bus.Keys, events.KeyRecord(name, kid).String(), string(value))
}

// serveAndMeasure starts serve, waits until it issues tokens, and asks it for its memory.
func serveAndMeasure(b *testing.B, dir string) memory {
	b.Helper()
	httpAddr := eventstest.FreeAddress(b)
	answers, answer, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer answers.Close()
	cmd := exec.Command("keyherald-measured", "serve", "--data", dir, "--http", httpAddr, "--nats-listen", "127.0.0.1:0",
		"--issuer", "http://127.0.0.1:8080", "--log-level", "warn")
	var said bytes.Buffer
	cmd.ExtraFiles, cmd.Stderr = []*os.File{answer}, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	err = cmd.Start()
	answer.Close()
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			b.Errorf("serve: %v\n%s", err, &said)
		}
	}()
	if err := waitReady(b.Context(), "http://"+httpAddr); err != nil {
		b.Fatal(err)
	}
	var used memory
	if _, err = fmt.Fprintln(in, "measure"); err == nil {
		err = json.NewDecoder(answers).Decode(&used)
	}
	if err != nil {
		b.Fatal(err)
	}
	return used
}

package backup_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry/backup"
)

// manyKeys is a backup of so many clients with a key each.
func manyKeys(b *testing.B, n int) []byte {
	b.Helper()
	var lines bytes.Buffer
	for i := range n {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		x := base64.RawURLEncoding.EncodeToString(public)
		fmt.Fprintln(&lines, line(fmt.Sprintf("issuer.client%06d", i), 2*i+1, clientJSON(`"scope":"billing:read"`)))
		fmt.Fprintln(&lines, line(fmt.Sprintf("key.client%06d.k1", i), 2*i+2, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s","alg":"EdDSA","use":"sig","kid":"k1","iat":1795653000}`, x)))
	}
	head, tail, _ := bytes.Cut([]byte(section(bus.Keys)), []byte("\n"))
	tail = bytes.Replace(tail, []byte(`"records":0`), fmt.Appendf(nil, `"records":%d`, 2*n), 1)
	body := fmt.Appendf(nil, "%s%s\n%s%s%s", testHeader, head, lines.Bytes(), tail, emptySections(bus.Clients, bus.Usage, bus.Assertions, bus.Revocations))
	return seal(string(body), 2*n)
}

// BenchmarkBackup measures 100,000 clients with a key each: to restore them to new buckets on one server of the same process, to save them,
// and to plan when there is nothing to do. Memory is what an opened file holds.
func BenchmarkBackup(b *testing.B) {
	const clients = 100_000
	file := manyKeys(b, clients)
	w := empty(b)
	a := open(b, file)
	b.Run("restore", func(b *testing.B) { // takes so long that it runs once; there would be nothing to do a second time
		for range b.N {
			if _, err := restoreTo(b.Context(), w.conn, a, backup.Options{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(2*clients*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("save", func(b *testing.B) {
		for range b.N {
			if _, err := backup.Save(b.Context(), w.conn, io.Discard, "tester", nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(file))/1e6, "MB")
	})
	b.Run("open", func(b *testing.B) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var a *backup.Archive
		for range b.N {
			a = open(b, file)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(2*clients), "B/name")
		runtime.KeepAlive(a)
	})
	b.Run("plan", func(b *testing.B) {
		for range b.N {
			if p, err := a.Plan(b.Context(), w.conn, backup.Options{}, nil); err != nil || p.Writes() > 0 {
				b.Fatal(p.Writes(), err)
			}
		}
	})
}

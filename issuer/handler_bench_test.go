package issuer

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

// BenchmarkHandler is the token endpoint without HTTP around it: what is left beside the cryptography is ours. How the endpoint
// compares to a bare server is measured in package bench.
func BenchmarkHandler(b *testing.B) {
	f := newFixture(b, func(c *Config) {
		c.Assertions, c.Logger = forgetful{}, c.Logger.Output(io.Discard)
	}).start()
	for f.node.Ready() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	assertion, err := f.minter().Assertion("")
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name    string
		request *http.Request
	}{
		{"method=api_key", f.withKey("resource", "https://billing")},
		{"method=private_key_jwt", withAssertion(assertion, "resource", "https://billing")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			body, err := io.ReadAll(bench.request.Body)
			if err != nil {
				b.Fatal(err)
			}
			reader := bytes.NewReader(body)
			bench.request.Body = io.NopCloser(reader)
			w := &discarded{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				clear(w.header)
				if f.node.Handler().ServeHTTP(w, bench.request); w.status != http.StatusOK {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}

// forgetful is a replay memory that accepts everything.
type forgetful struct{}

func (forgetful) Use(context.Context, events.Name, string, time.Time) error { return nil }

// discarded is an answer of which only the status is kept.
type discarded struct {
	header http.Header
	status int
}

var _ http.ResponseWriter = (*discarded)(nil)

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) WriteHeader(status int)      { d.status = status }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }

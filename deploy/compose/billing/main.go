// Command billing is a service as its team would write it: it validates the tokens of its callers by itself, with the verifier that it embeds, and
// asks nobody.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/httpauth"
	"github.com/keyherald/keyherald/verifier/metrics"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	log := zerolog.New(os.Stderr).With().Timestamp().Logger()
	listen := flag.String("listen", "127.0.0.1:9000", "where to answer")
	cfg := verifier.Config{Audience: "https://billing", Logger: log}
	flag.StringVar(&cfg.NATS, "nats", "", "NATS servers, separated by commas")
	flag.StringVar(&cfg.SeedFile, "nkey", "", "file with the nkey seed of a verifier")
	flag.StringVar(&cfg.CAFile, "nats-tls-ca", "", "file with the authority of the NATS servers' certificates")
	flag.Parse()
	err := run(ctx, *listen, cfg)
	stop()
	if err != nil {
		log.Fatal().Err(err).Send()
	}
}

func run(ctx context.Context, listen string, cfg verifier.Config) error {
	v, err := verifier.Connect(ctx, cfg) // blocks until it has the whole key set
	if err != nil {
		return err
	}
	defer v.Close()
	registry := prometheus.NewRegistry()
	prometheus.WrapRegistererWithPrefix("keyherald_", registry).MustRegister(metrics.NewCollector(v))

	mux := http.NewServeMux()
	mux.Handle("GET /invoices", httpauth.Require(v, "billing:read")(http.HandlerFunc(invoices)))
	mux.Handle("POST /invoices", httpauth.Require(v, "billing:write")(http.HandlerFunc(invoices)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(stopping)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// invoices says who asked.
func invoices(w http.ResponseWriter, r *http.Request) {
	token, _ := httpauth.FromContext(r.Context())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the caller may be gone
		"service": "billing", "client": token.Client, "issuer": token.IssuerType, "scope": token.Scope.String(), "invoices": []string{"2026-1", "2026-2"},
	})
}

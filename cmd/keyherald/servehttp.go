package main

import (
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

func httpServer(a *app, handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(a.log.With().Str("component", "http").Logger(), "", 0),
	}
}

// withMetrics adds the metrics to what is served.
func withMetrics(handler http.Handler, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.Handle("GET /metrics", metricsHandler(metrics))
	return mux
}

func metricsHandler(metrics prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// accessLog logs every request when it was answered. Of what the caller sent it has the method and which of our routes it was, not the
// path or the query: anything may be in them.
func accessLog(log zerolog.Logger, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		handler.ServeHTTP(recorder, r)
		_, route, _ := strings.Cut(r.Pattern, " ") // which the routers set
		line := log.Info()
		if isProbe(route) {
			line = log.Debug()
		}
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		line.Str("method", known(r.Method)).Str("route", route).Int("status", recorder.status).Int64("bytes", recorder.bytes).
			Float64("ms", float64(time.Since(began).Microseconds())/1000).Str("address", host).Msg("request")
	})
}

// isProbe reports whether a route is one that machines ask every few seconds.
func isProbe(route string) bool {
	return strings.HasSuffix(route, "/healthz") || strings.HasSuffix(route, "/readyz") || route == "/metrics"
}

// known is the method of a request, if it is one that there is.
func known(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// statusRecorder notes how a request was answered.
type statusRecorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	wrote  bool
}

func (r *statusRecorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, status >= 200 // 1xx may come before
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(p []byte) (int, error) {
	r.wrote = true
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Package bench measures the token endpoint of package issuer over HTTP. It has only tests.
//
// A server runs in a process of its own with GOMAXPROCS=1: its node, its records and, where the replay memory is NATS, the
// embedded server with it. This process drives it over 16 connections of loopback with requests that were made before, each
// assertion used once. Beside it runs a bare net/http server with the same settings, which reads the body, does as many raw
// signatures and verifications as the token endpoint must, and answers as many bytes. The two are driven in turns, and what is
// reported is of their undisturbed turns, the fastest tenth:
//
//	x-bare      requests a second, as a multiple of the bare server's. Bar: 0.7, without the replay memory
//	x-bare-cpu  the same for requests a second of processor time, which a busy machine disturbs less
//	cpu-ns/op   processor time for one request, that of the kernel included; bare-cpu-ns/op is the bare server's
//	req/s, p50-ms, p99-ms   what the callers see
//
// A second benchmark shows what the replay memory adds. Where the audit log goes costs what it costs there: here it is /dev/null.
//
// Run it with
//
//	go test -run '^$' -bench . -benchtime 200x ./issuer/bench
//
// where one iteration is one turn of both servers, and for profiles of the two servers, node.pprof and bare-sign.pprof, with
//
//	KEYHERALD_BENCH_PROFILE=/tmp go test -run '^$' -bench '/method=api_key' -benchtime 200x ./issuer/bench
package bench

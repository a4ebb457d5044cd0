// Command keyherald is machine-to-machine authentication with live keys: registry, token service and tools in one
// binary. Run keyherald --help, or see the README.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	zerolog.TimeFieldFormat = time.RFC3339Nano // of the process: there is no such setting of a logger
	code := run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	os.Exit(code)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// cli is the command line: one field a subcommand, each in its own file.
type cli struct {
	LogLevel string `help:"What to log on standard error: ${enum}." enum:"debug,info,warn,error,off" default:"${level}" placeholder:"LEVEL"`

	Serve  serveCmd  `cmd:"" help:"Run everything: NATS with the buckets, the token service, the registry."`
	Client clientCmd `cmd:"" help:"Service clients: create, list, show, update, disable, enable."`
	Issuer issuerCmd `cmd:"" help:"External issuers, such as the one users log in at: add, list, show, disable, enable."`
	Key    keyCmd    `cmd:"" help:"Keys of clients: add, list, rotate, retire, revoke."`
	Secret secretCmd `cmd:"" help:"API keys of clients: add, list, revoke."`
	Token  tokenCmd  `cmd:"" help:"Tokens: mint offline, request online, verify, revoke, decode."`
	Watch  watchCmd  `cmd:"" help:"Print every change as it is applied, one line each."`
	Status statusCmd `cmd:"" help:"Show revision, freshness, issuers, keys by state, and rejected records."`
	Demo   demoCmd   `cmd:"" help:"Tell the whole story in one process, with timings."`
}

const description = `Machine-to-machine authentication with live keys.

Every flag has an environment twin: --data is KEYHERALD_DATA, and so on. Commands that an operator uses work against a running
system over NATS: that of --data on this machine, or any with --nats and --nkey or --creds.`

// stdio is what a process reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// app is what every subcommand gets.
type app struct {
	stdio
	ctx    context.Context // of the process: it ends at the first signal
	log    zerolog.Logger
	caller registry.Caller
}

// The exit codes. 0 is success.
const (
	exitFailed    = 1 // it could not be done; for token verify: the token is refused
	exitUsage     = 2 // the command line is wrong
	exitUndecided = 3 // token verify only: not known now
)

// exitError carries an exit code other than exitFailed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, io stdio) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("keyherald"), kong.Description(description), kong.DefaultEnvars("KEYHERALD"), kong.Writers(io.out, io.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}), kong.Vars{"level": "warn"},
		kong.Exit(func(code int) { exited = code; panic(errExit) }),
	)
	if err != nil {
		fmt.Fprintln(io.err, "keyherald:", err)
		return exitFailed
	}
	command, err := parse(parser, args)
	switch {
	case errors.Is(err, errExit): // --help
		return exited
	case err != nil:
		fmt.Fprintf(io.err, "keyherald: %v\nkeyherald: see keyherald --help\n", err)
		return exitUsage
	}
	a := &app{stdio: io, ctx: ctx, log: logger(io.err, c.LogLevel), caller: registry.Caller{Name: callerName()}}
	err = command.Run(a)
	if err == nil {
		return 0
	}
	fmt.Fprintln(io.err, "keyherald:", err)
	if hint := hint(err); hint != "" {
		fmt.Fprintln(io.err, "keyherald: hint:", hint)
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

var errExit = errors.New("exit")

// parse turns kong's wish to end the process, which it has after --help, into an error.
func parse(parser *kong.Kong, args []string) (command *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if r != errExit {
				panic(r)
			}
			err = errExit
		}
	}()
	return parser.Parse(args)
}

func logger(w io.Writer, level string) zerolog.Logger {
	if level == "off" {
		return zerolog.Nop()
	}
	l, err := zerolog.ParseLevel(level)
	if err != nil { // the flag's enum has no others
		l = zerolog.WarnLevel
	}
	zerolog.TimeFieldFormat = time.RFC3339Nano
	return zerolog.New(w).Level(l).With().Timestamp().Logger()
}

// callerName is who stands in the records as their writer: the user of this process, on this machine.
func callerName() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return "cli:" + name + "@" + host
}

// hint says what to do about an error, if that is not in it already.
func hint(err error) string {
	switch {
	case errors.Is(err, bus.ErrUnreachable):
		return "start keyherald serve, or give the server with --nats and a credential with --nkey or --creds"
	case errors.Is(err, bus.ErrPermission):
		return "use the operator's credential (DIR/nats/operator.nk) for writing, and the verifier's for reading only"
	case errors.Is(err, os.ErrNotExist):
		return "is --data (KEYHERALD_DATA) the directory of a keyherald serve on this machine?"
	}
	return ""
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/registry"
)

// cli is the command line: one field a subcommand, each in its own file.
type cli struct {
	LogLevel string           `group:"global" help:"What to log on standard error: debug, info, warn, error or off. Default: info for serve and gate, error for all others." enum:",debug,info,warn,error,off" default:"" placeholder:"LEVEL"`
	Version  kong.VersionFlag `group:"global" help:"Print the version." env:"-"`

	Serve      serveCmd      `cmd:"" help:"Run everything: NATS with the buckets, the token service, the registry."`
	Gate       gateCmd       `cmd:"" help:"Judge tokens for a reverse proxy, for services in any language."`
	Ready      readyCmd      `cmd:"" help:"Ask a serve or gate whether it answers now: for health checks."`
	Init       initCmd       `cmd:"" help:"Make the buckets on a NATS server or cluster, or check them."`
	Doctor     doctorCmd     `cmd:"" help:"Look whether everything is safe: servers, buckets, clocks, and what each role may do."`
	Client     clientCmd     `cmd:"" help:"Service clients: create, list, show, update, disable, enable."`
	Issuer     issuerCmd     `cmd:"" help:"External issuers, such as the one users log in at: add, list, show, update, refresh, disable, enable."`
	Key        keyCmd        `cmd:"" help:"Keys of clients: add, list, rotate, retire, revoke, export, import."`
	Secret     secretCmd     `cmd:"" help:"API keys of clients: add, list, revoke."`
	Cert       certCmd       `cmd:"" help:"Certificates of clients: add, remove, subject, list, clear."`
	Federation federationCmd `cmd:"" help:"Identities that external issuers vouch for: add, list, remove."`
	Token      tokenCmd      `cmd:"" help:"Tokens: mint offline, request online, assert, verify, revoke, decode."`
	Watch      watchCmd      `cmd:"" help:"Print every change as it is applied, one line each, until stopped."`
	Status     statusCmd     `cmd:"" help:"Show revision, freshness, issuers, keys by state, and rejected records."`
	Backup     backupCmd     `cmd:"" help:"Save all records in one file."`
	Restore    restoreCmd    `cmd:"" help:"Restore the records that a backup has, to new buckets or over existing ones."`
	NatsUser   natsUserCmd   `cmd:"" name:"nats-user" help:"Users of the embedded NATS server: add, list, revoke."`
	NATSConfig natsConfigCmd `cmd:"" name:"nats-config" help:"Configuration of a NATS server of your own, with what each role may do: nkeys, jwt."`
	Demo       demoCmd       `cmd:"" help:"Tell the whole story in one process, with timings."`
	Bench      benchCmd      `cmd:"" help:"Measure this machine, and a cluster: verify, propagate."`
}

// stdio is what a process reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// app is what every subcommand gets, beside the context of the process, which ends at the first signal.
type app struct {
	stdio
	log    zerolog.Logger
	caller registry.Caller
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, io stdio) int {
	out := &output{w: io.out}
	io.out, io.err = out, &output{w: io.err}
	code := execute(ctx, args, io)
	if err := out.failure(); code == 0 && err != nil { // what was to be printed is what the caller is after
		complain(io.err, fmt.Errorf("writing to standard output: %w", err))
		return exitFailed
	}
	return code
}

func execute(ctx context.Context, args []string, io stdio) int {
	var c cli
	exited := exitUsage
	if len(args) == 0 { // as --help, but nothing was done
		args, io.out = []string{"--help"}, io.err
	} else {
		exited = 0
	}
	parser, err := newParser(&c, io)
	if err != nil {
		complain(io.err, err)
		return exitFailed
	}
	command, err := parse(parser, args)
	switch {
	case errors.Is(err, errExit): // --help, --version
		return exited
	case err != nil:
		complain(io.err, err)
		fmt.Fprintf(io.err, "keyherald: see %s --help\n", commandOf(err))
		return exitUsage
	}
	level := c.LogLevel
	if level == "" {
		level = defaultLevel(command)
	}
	a := &app{stdio: io, log: logger(io.err, level), caller: registry.Caller{Name: callerName()}}
	command.BindTo(ctx, (*context.Context)(nil))
	if err = command.Run(a); err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(io.err, "keyherald: interrupted")
		return exitFailed
	}
	complain(io.err, err)
	return exitCode(err)
}

var errExit = errors.New("exit")

func newParser(c *cli, io stdio) (*kong.Kong, error) {
	parser, err := kong.New(c,
		kong.Name("keyherald"), kong.Description(description), kong.DefaultEnvars("KEYHERALD"), kong.Writers(io.out, io.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}), kong.ValueFormatter(describeFlag),
		kong.ExplicitGroups(flagGroups()), kong.Vars{"version": version()},
		kong.Exit(func(int) { panic(errExit) }),
	)
	if err != nil {
		return nil, err
	}
	finishHelp(parser.Model)
	return parser, nil
}

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

// commandOf is the command whose help explains what is wrong with the command line.
func commandOf(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		if selected := wrong.Context.Selected(); selected != nil {
			return selected.FullPath()
		}
	}
	return "keyherald"
}

// defaultLevel is what a command logs unless told: a server what an operator has to know of it, all others nothing but what
// they print.
func defaultLevel(command *kong.Context) string {
	if name := command.Command(); name == "serve" || name == "gate" {
		return "info"
	}
	return "error"
}

func logger(w io.Writer, level string) zerolog.Logger {
	if level == "off" {
		return zerolog.Nop()
	}
	l, err := zerolog.ParseLevel(level)
	if err != nil { // the flag's enum has no others
		l = zerolog.InfoLevel
	}
	return zerolog.New(asciiJSON{w}).Level(l).With().Timestamp().Logger()
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

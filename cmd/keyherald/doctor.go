package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/doctor"
)

type doctorCmd struct {
	reach
	Monitor   []string `help:"HTTP monitoring URLs of the NATS servers, one for each node, such as http://a:8222,http://b:8222. What only they tell (sync_interval, room, health, clocks, whose consumers there are) is unknown without." placeholder:"URL"`
	CheckRole []string `help:"A credential of a role (verifier, issuer, operator or admin: an nkey seed or a .creds file), of which to try that it can do nothing but what its role needs; may be repeated. Default: those in --data." placeholder:"ROLE=FILE"`
	Replicas  int      `help:"On how many servers of a cluster each bucket must be kept. Default: 3 in a cluster of three or more, 1 without a cluster; unknown in a cluster of which fewer than three servers are known." placeholder:"N"`
	JSON      bool     `name:"json" help:"Print JSON."`
}

// Help is what kong prints below the command's one line.
func (*doctorCmd) Help() string {
	return `Each line says ok, warn or FAIL, what was looked at, what was found, what is needed instead, and what to do. Nothing is changed and no record is written; KEYS and REVOCATIONS are followed for a moment, as every verifier does.

Looked at are: all servers of --nats and those that they tell of (up, version, TLS); the buckets (settings, replicas, a leader, members that are current and up, consumers); on each server, sync_interval, the room that its files have, and what it says of its health; the clocks of the servers and of this machine; the platform's record, its signing keys and malformed records; whether the servers deliver all that they have of KEYS and REVOCATIONS; whether a connection without a credential is refused.

With --check-role it is tried, on each server, that a role can do what it needs and nothing else: some two hundred calls on names that nobody has, and some twenty more for each of the first eight issuers by name, on its record, on those of two of its keys and next to them, all made so that nothing comes of one that is not refused. Leave for another single name is not seen. The servers log each refusal.

What cannot be read is unknown: a warning, never ok. An operator's credential reads all buckets, a verifier's two of them.

Exit codes: 0 nothing is unsafe (there may be warnings), 1 something is, 3 nothing was found unsafe, and something is unknown.`
}

func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	switch {
	case c.Replicas < 0 || c.Replicas > maxReplicas:
		return usage("--replicas %d is not between 1 and %d", c.Replicas, maxReplicas)
	case c.Timeout <= 0:
		return usage("--timeout %s leaves no time", c.Timeout)
	}
	cfg, err := c.examination(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	report := doctor.Examine(ctx, cfg)
	if c.JSON {
		err = printJSON(a.out, report)
	} else {
		for _, f := range report.Findings {
			fmt.Fprintln(a.out, printable(f.String()))
		}
	}
	return errors.Join(err, verdict(report))
}

// examination is what to look at, by the flags.
func (c *doctorCmd) examination(a *app) (doctor.Config, error) {
	nats, err := c.config(a, bus.Operator)
	if err != nil {
		return doctor.Config{}, err
	}
	nats.Name = "keyherald doctor"
	cfg := doctor.Config{NATS: nats, Monitors: c.Monitor, Replicas: c.Replicas, Logger: a.log}
	for _, text := range c.CheckRole {
		credential, err := roleCredential(text)
		if err != nil {
			return cfg, err
		}
		cfg.Roles = append(cfg.Roles, credential)
	}
	if c.NATS != "" {
		return cfg, nil
	}
	at, err := readAddress(c.Data)
	cfg.SyncAlways = at.SyncAlways
	if len(cfg.Roles) == 0 {
		for _, role := range bus.Roles() {
			cfg.Roles = append(cfg.Roles, doctor.Credential{Role: role, SeedFile: filepath.Join(c.Data, "nats", string(role)+".nk")})
		}
	}
	return cfg, err
}

// roleCredential reads ROLE=FILE.
func roleCredential(text string) (doctor.Credential, error) {
	name, file, _ := strings.Cut(text, "=")
	role := bus.Role(name)
	if !slices.Contains(bus.Roles(), role) || file == "" {
		return doctor.Credential{}, usage("--check-role is ROLE=FILE, with the role admin, operator, issuer or verifier")
	}
	file = kong.ExpandPath(file)
	content, err := os.ReadFile(file)
	if err != nil {
		return doctor.Credential{}, fmt.Errorf("--check-role: %w", err)
	}
	if strings.Contains(string(content), "BEGIN NATS USER JWT") {
		return doctor.Credential{Role: role, CredsFile: file}, nil
	}
	return doctor.Credential{Role: role, SeedFile: file}, nil
}

// verdict is the error of a report. Each finding was printed.
func verdict(r doctor.Report) error {
	failed, open := 0, 0
	for _, f := range r.Findings {
		switch {
		case f.Level == doctor.Fail:
			failed++
		case f.Unknown:
			open++
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%s", count(failed, "failure"))
	case open > 0:
		return &exitError{exitUndecided, fmt.Errorf("nothing was found unsafe, but unknown: %s", count(open, "thing"))}
	}
	return nil
}

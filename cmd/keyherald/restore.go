package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry/backup"
)

type restoreCmd struct {
	place
	Force           bool          `help:"Also change, bring back and delete what the buckets have. Without it, a restore only adds." env:"-"`
	DryRun          bool          `help:"Write nothing: only tell what would be done." env:"-"`
	Check           bool          `help:"Only check the file, and tell what it is. Nothing is connected." env:"-"`
	DropRevocations bool          `help:"Take back what was disabled, narrowed, ended, replaced or removed since the backup, as far as that can be." env:"-"`
	OtherPlatform   bool          `help:"Allow a backup of another platform (issuer URL or account) than the one that is there." env:"-"`
	JSON            bool          `name:"json" help:"Print JSON."`
	Timeout         time.Duration `help:"How long it may take." default:"1h" placeholder:"DURATION"`
	File            string        `arg:"" help:"The file that keyherald backup has written. - is standard input." type:"path"`
}

// Help is what a restore does, and what it leaves.
func (*restoreCmd) Help() string {
	return `The file is checked to its last byte, then compared with the buckets, and what is to be done is printed; then it is done, record by record, and looked at again. What denies is written first, and what lets somebody in last. A record that somebody else changes meanwhile is not overwritten: the restore stops and says so. After any failure, the same command again does the rest.

The buckets must be there: keyherald init makes them, and serve on a NATS server of its own. Verifiers and nodes may be running; they follow.

What was taken away since the backup stays so, and is listed: revoked keys and tokens, clients and issuers disabled, a later not_before, narrower bounds (scope, audiences, offline, lifetime of tokens …), an earlier end of a key, credentials removed from a client. So does a key that was replaced by another one under its kid. --drop-revocations takes back what can be; a key or token revoked by name is revoked for ever, except in a new bucket. A record that was deleted returns.

Not restored are the signing keys of the token service's nodes, which make new ones; keys fetched from external issuers, where there was something on the name; revocations and used assertions that are over. It takes an operator's credential.`
}

// restoreReport is what restore --json prints. It is an interface: members are added, not changed.
type restoreReport struct {
	File   string         `json:"file"`
	Backup backup.Summary `json:"backup"`
	Plan   *backup.Plan   `json:"plan,omitempty"` // none with --check
	Writes int            `json:"writes"`         // messages that the plan writes
	Done   bool           `json:"done"`           // it was done, and looked at

	Seconds float64 `json:"seconds"`
}

func (c *restoreCmd) Run(ctx context.Context, a *app) error {
	if c.Check && (c.Force || c.DryRun) {
		return usage("--check goes with neither --force nor --dry-run: it looks at the file only")
	}
	file, size, err := c.open(a)
	if err != nil {
		return err
	}
	defer file.Close()
	began := time.Now()
	archive, err := backup.Open(file, size, meter(a))
	if err != nil {
		return c.explain(fmt.Errorf("file %s: %w; nothing was written", c.File, err))
	}
	report := restoreReport{File: c.File, Backup: archive.Summary}
	if !c.JSON {
		if err := printSummary(a.out, archive.Summary); err != nil {
			return err
		}
	}
	if !c.Check {
		err = c.restore(ctx, a, archive, &report)
	}
	report.Seconds = time.Since(began).Seconds()
	if c.JSON && (report.Plan != nil || c.Check) {
		err = errors.Join(err, printJSON(a.out, report))
	}
	return c.explain(err)
}

// restore plans, tells the plan, and does it.
func (c *restoreCmd) restore(ctx context.Context, a *app, archive *backup.Archive, report *restoreReport) error {
	ctx, conn, done, err := reach{c.place, c.Timeout}.connect(ctx, a, bus.Operator)
	if err != nil {
		return err
	}
	defer done()
	options := backup.Options{Undo: c.DropRevocations, OtherPlatform: c.OtherPlatform}
	plan, err := archive.Plan(ctx, conn, options, meter(a))
	if err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	report.Plan, report.Writes = plan, plan.Writes()
	if !c.JSON {
		if err := printPlan(a.out, plan); err != nil {
			return err
		}
	}
	switch {
	case c.DryRun:
		fmt.Fprintln(a.err, "nothing was written: this was a dry run")
		return nil
	case !plan.OnlyAdds() && !c.Force:
		return &hinted{fmt.Errorf("nothing was written: %s that the buckets have would be changed, returned or deleted", count(len(plan.Touched), "record")),
			"look at the plan, and give --force if that is what you want"}
	}
	if err := archive.Restore(ctx, conn, plan, options, restoredBy(a), meter(a)); err != nil {
		if ctx.Err() != nil { // of which nothing else is said
			fmt.Fprintln(a.err, "keyherald: the restore is not complete: the same command again does the rest")
		}
		return &hinted{fmt.Errorf("the restore is not complete: %w", err), "give the same command again: it does the rest"}
	}
	report.Done = true
	if !c.JSON {
		fmt.Fprintf(a.out, "restored: %s written, and the buckets are as planned\n", count(report.Writes, "message"))
	}
	return nil
}

// restoredBy is who stands in the records as their writer.
func restoredBy(a *app) string { return a.caller.Name + " (restore)" }

// open returns the file. Standard input is kept in a file first: it is read more than once.
func (c *restoreCmd) open(a *app) (*os.File, int64, error) {
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return nil, 0, err
		}
		info, err := file.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a file: give its content on standard input, and - for the file", c.File)
		}
		if err != nil {
			return nil, 0, errors.Join(err, file.Close())
		}
		return file, info.Size(), nil
	}
	file, err := os.CreateTemp("", "keyherald-restore-*")
	if err != nil {
		return nil, 0, err
	}
	size, err := io.Copy(file, a.in)
	if err := errors.Join(err, os.Remove(file.Name())); err != nil { // it lives as long as it is open
		return nil, 0, errors.Join(fmt.Errorf("reading the backup on standard input: %w", err), file.Close())
	}
	return file, size, nil
}

// explain says what to do about an error.
func (c *restoreCmd) explain(err error) error {
	switch {
	case errors.Is(err, backup.ErrNoBackup):
		return &hinted{err, "give the file that keyherald backup has written; what the nats CLI or a copy of a data directory is, is put back by other means"}
	case errors.Is(err, backup.ErrDamaged):
		return &hinted{err, "take another backup; this one was cut off, or something in it was changed"}
	case errors.Is(err, backup.ErrOtherPlatform):
		return &hinted{err, "is it the right file, and the right cluster? A serve that was started on empty buckets has made a platform of its own: --other-platform puts the backup's in its place"}
	case errors.Is(err, backup.ErrChanged):
		return &hinted{err, "see who with keyherald watch or nats kv history, then give the same command again: it does the rest"}
	case errors.Is(err, bus.ErrNoBucket):
		return &hinted{err, "make the buckets with keyherald init first"}
	}
	return err
}

// most is how many names of a kind are printed for people; --json has all.
const most = 50

func printPlan(w io.Writer, p *backup.Plan) error {
	fmt.Fprintln(w)
	t := newTable(w, "BUCKET", "ADD", "CHANGE", "RETURN", "DELETE", "SAME", "NOT RESTORED")
	for _, e := range p.Effects {
		t.row(string(e.Bucket), fmt.Sprint(e.Add), fmt.Sprint(e.Change), fmt.Sprint(e.Return), fmt.Sprint(e.Delete), fmt.Sprint(e.Same), fmt.Sprint(e.Left))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, list := range []struct {
		title string
		names []backup.Named
	}{
		{"taken away since the backup, and kept so:", p.Kept},
		{"taken away since the backup, and given back (--drop-revocations):", p.Undone},
		{"in the buckets, and not left as it is:", p.Touched},
	} {
		if err := printNamed(w, list.title, list.names); err != nil {
			return err
		}
	}
	return nil
}

func printNamed(w io.Writer, title string, names []backup.Named) error {
	if len(names) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s\n", title)
	t := newTable(w, "BUCKET", "RECORD", "WHAT", "REVISION", "WRITTEN", "BY")
	for _, n := range names[:min(len(names), most)] {
		written := ""
		if !n.Time.IsZero() {
			written = n.Time.Format(time.RFC3339)
		}
		t.row(string(n.Bucket), printable(n.Name), printable(n.What), fmt.Sprint(n.Revision), written, printable(n.Caller))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if more := len(names) - most; more > 0 {
		fmt.Fprintf(w, "and %d more: --json lists all\n", more)
	}
	return nil
}

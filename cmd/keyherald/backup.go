package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry/backup"
)

type backupCmd struct {
	place
	Force   bool          `help:"Replace the file if there is one." env:"-"`
	JSON    bool          `name:"json" help:"Print JSON."`
	Timeout time.Duration `help:"How long it may take." default:"1h" placeholder:"DURATION"`
	File    string        `arg:"" help:"The file to write. - is standard output: then the report goes to standard error." type:"path"`
}

// Help is what to know of the file.
func (*backupCmd) Help() string {
	return `All records of all buckets go into one file, message by message, with a checksum, for keyherald restore. Each bucket is as it was at one moment. The file appears when it is complete, on the disk, and has been read again as restore --check does, which standard output cannot be. It is readable by its owner only: there is no secret in it, but how each client authenticates. It takes an operator's credential.`
}

// backupReport is what backup --json prints. It is an interface: members are added, not changed.
type backupReport struct {
	File string `json:"file"`
	backup.Summary
	Seconds float64 `json:"seconds"`
}

func (c *backupCmd) Run(ctx context.Context, a *app) error {
	if _, err := os.Lstat(c.File); err == nil && c.File != "-" && !c.Force {
		return exists(c.File)
	}
	r := reach{c.place, c.Timeout}
	ctx, conn, done, err := r.connect(ctx, a, bus.Operator)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	var sum backup.Summary
	save := func(w io.Writer) (err error) {
		sum, err = backup.Save(ctx, conn, w, a.caller.Name, meter(a))
		return err
	}
	report := a.out
	if c.File == "-" {
		report = a.err
		err = buffered(a.out, save)
	} else {
		err = c.writeFile(save, meter(a))
	}
	if err != nil {
		return err
	}
	took := time.Since(began)
	if c.JSON {
		return printJSON(report, backupReport{c.File, sum, took.Seconds()})
	}
	if err := printSummary(report, sum); err != nil {
		return err
	}
	_, err = fmt.Fprintf(report, "wrote %s to %s in %s\n", size(sum.Bytes), c.File, took.Round(time.Millisecond))
	return err
}

// writeFile puts the backup in its place when it is whole, and can be read.
func (c *backupCmd) writeFile(save func(io.Writer) error, m backup.Meter) error {
	put := func(from, to string) error {
		if err := readable(from, m); err != nil {
			return fmt.Errorf("reading it again: %w", err)
		}
		if c.Force {
			return os.Rename(from, to)
		}
		return os.Link(from, to) // which does not replace
	}
	err := fillFile(c.File, func(w io.Writer) error { return buffered(w, save) }, put)
	if errors.Is(err, fs.ErrExist) {
		return exists(c.File)
	}
	if err != nil {
		return fmt.Errorf("nothing was written to %s: %w", c.File, err)
	}
	return nil
}

// readable reads a backup as a restore does: one that none can use is better known now than when it is needed.
func readable(name string, m backup.Meter) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	_, err = backup.Open(file, info.Size(), m)
	return err
}

func exists(file string) error {
	return &hinted{fmt.Errorf("nothing was written: %s is there already", file), "choose another name, or --force replaces it when the new one is complete"}
}

func buffered(w io.Writer, save func(io.Writer) error) error {
	b := bufio.NewWriterSize(w, 1<<18)
	if err := save(b); err != nil {
		return err
	}
	return b.Flush()
}

// meter shows progress on a terminal.
func meter(a *app) backup.Meter {
	return func(what string, total int) (func(int), func()) {
		p := newProgress(a, what, total)
		return p.add, p.end
	}
}

func printSummary(w io.Writer, s backup.Summary) error {
	fmt.Fprintf(w, "%s of %s, made at %s by %s from NATS %s\n",
		count(s.Records, "message"), printable(s.Platform.String()), s.Made.Format(time.RFC3339), printable(s.By), printable(s.Server))
	t := newTable(w, "BUCKET", "MESSAGES", "UP TO REVISION", "STREAM SINCE")
	for _, b := range s.Buckets {
		t.row(string(b.Bucket), fmt.Sprint(b.Records), fmt.Sprint(b.Through), b.Created.Format(time.RFC3339))
	}
	return t.flush()
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

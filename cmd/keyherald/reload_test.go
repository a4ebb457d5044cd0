package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestFilesAreReadAgainWhenTheyChangeAndABrokenOneReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	// What the files say must be the same: they belong together.
	reads := 0
	read := func() (*string, error) {
		reads++
		a, err := os.ReadFile(files[0])
		if err != nil {
			return nil, err
		}
		b, err := os.ReadFile(files[1])
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(a, b) {
			return nil, errors.New("they differ")
		}
		text := string(a)
		return &text, nil
	}
	modified := time.Now()
	write := func(file, text string) {
		t.Helper()
		if err := replaceFile(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		modified = modified.Add(time.Second) // as any two writes that a person makes
		if err := os.Chtimes(file, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newReloaded("the files", read, files...); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("without files: %v", err)
	}
	write(files[0], "one")
	write(files[1], "one")
	var log bytes.Buffer
	r, err := newReloaded("the files", read, files...)
	if err != nil {
		t.Fatal(err)
	}
	look := func(want string, lines int) {
		t.Helper()
		for range 3 {
			r.look(zerolog.New(&log))
		}
		if got := *r.value.Load(); got != want {
			t.Errorf("in use is %s, want %s", got, want)
		}
		if got := strings.Count(log.String(), "\n"); got != lines {
			t.Errorf("%d lines in the log, want %d:\n%s", got, lines, log.String())
		}
	}
	before := reads
	look("one", 0)
	if reads != before {
		t.Errorf("read %d times though nothing changed", reads-before)
	}
	write(files[0], "two")
	look("one", 1) // said once
	write(files[1], "two")
	look("two", 2)
	write(files[0], "six") // of the same size
	write(files[1], "six")
	look("six", 3)
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	look("six", 4)
	write(files[1], "six")
	look("six", 5)
	for _, want := range []string{`"level":"error","what":"the files"`, `"reason":"they differ"`, `"level":"info"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in the log:\n%s", want, log.String())
		}
	}
}

func TestLookingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var looks atomic.Int32
		ended := make(chan error, 1)
		go func() { ended <- every(ctx, reloadEvery, func() { looks.Add(1) }) }()
		time.Sleep(3*reloadEvery + reloadEvery/2)
		cancel()
		if err := <-ended; err != nil || looks.Load() != 3 {
			t.Errorf("%d looks in three and a half periods, error %v", looks.Load(), err)
		}
	})
}

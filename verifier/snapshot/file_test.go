//go:build unix

package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

var noon = time.Unix(1_790_000_000, 0)

func TestFileIsForItsOwnerOnly(t *testing.T) {
	f := newFile(t)
	digest := written(t, f, noon)
	if err := f.confirm(digest, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	has(t, f, noon.Add(time.Minute))
	if got := files(t, f); got != "keys\nkeys.confirmed\n" {
		t.Errorf("files: %q", got)
	}
	for _, path := range []string{f.path, f.path + confirmedSuffix} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
}

// P5: nothing that can be the matter with a file makes it half used, and the error says what it is.
func TestP5_FilesThatAreNotUsed(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, path string) error
		want  string
	}{
		{"none", func(t *testing.T, path string) error { return os.Remove(path) }, "no such file"},
		{"empty", func(t *testing.T, path string) error { return os.Truncate(path, 0) }, "damaged"},
		{"cut off", func(t *testing.T, path string) error { return os.Truncate(path, 300) }, "damaged"},
		{"something else", func(t *testing.T, path string) error { return os.WriteFile(path, make([]byte, 1000), 0o600) }, "no snapshot"},
		{"an older format", toVersion('0'), "another version"},
		{"a newer format", toVersion('2'), "another version"},
		{"huge", func(t *testing.T, path string) error { return os.Truncate(path, maxFile+1) }, "more than"},
		{"one that its group can write", func(t *testing.T, path string) error { return os.Chmod(path, 0o620) }, "mode 0620"},
		{"one that anybody can write", func(t *testing.T, path string) error { return os.Chmod(path, 0o602) }, "chmod 0600"},
		{"a link", func(t *testing.T, path string) error {
			return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path))
		}, "symbolic link"},
		{"a pipe, which would be waited for", func(t *testing.T, path string) error {
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		}, "not a regular file"},
		{"a directory", func(t *testing.T, path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, "not a regular file"},
		{"a confirmation that anybody can write", func(t *testing.T, path string) error { return os.Chmod(path+confirmedSuffix, 0o666) }, "chmod 0600"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFile(t)
			if err := f.confirm(written(t, f, noon), noon); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(t, f.path); err != nil {
				t.Fatal(err)
			}
			s, _, err := f.read()
			if err == nil || !strings.Contains(err.Error(), c.want) || s != nil {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
			if info, err := os.Lstat(f.path); err == nil && info.IsDir() {
				return // it cannot be replaced
			}
			if err := os.RemoveAll(f.path + confirmedSuffix); err != nil {
				t.Fatal(err)
			}
			written(t, f, noon.Add(time.Hour)) // the next good one takes its place
			has(t, f, noon.Add(time.Hour))
		})
	}
}

func TestSomebodyElsesFileIsNotUsed(t *testing.T) {
	f, owner := file{"/etc/passwd"}, 0
	if os.Geteuid() == 0 {
		f, owner = newFile(t), 1
		written(t, f, noon)
		if err := os.Chown(f.path, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("%s belongs to user %d and this process runs as user %d", f.path, owner, os.Geteuid())
	if s, _, err := f.read(); err == nil || !strings.Contains(err.Error(), want) || s != nil {
		t.Errorf("error %v, want one that says %q", err, want)
	}
}

// toVersion changes the version of a snapshot.
func toVersion(to byte) func(*testing.T, string) error {
	return func(t *testing.T, path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[bytes.IndexByte(data, '1')] = to
		return os.WriteFile(path, data, 0o600)
	}
}

func TestEveryByteOfAFileCounts(t *testing.T) {
	f := newFile(t)
	written(t, f, noon)
	good, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(data []byte, what string) {
		t.Helper()
		if err := os.WriteFile(f.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, _, err := f.read(); err == nil || s != nil {
			t.Fatalf("%s: taken", what)
		}
	}
	for n := range good {
		refused(good[:n], fmt.Sprintf("cut off after %d bytes", n))
		bad := slices.Clone(good)
		bad[n] ^= 0x20
		refused(bad, fmt.Sprintf("byte %d changed", n))
	}
}

// What says when a snapshot was confirmed counts for that snapshot alone, and only if it says later.
func TestAConfirmationThatIsNotOfThisSnapshotSaysNothing(t *testing.T) {
	f := newFile(t)
	digest := written(t, f, noon)
	if err := f.confirm(digest, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(f.path + confirmedSuffix)
	if err != nil {
		t.Fatal(err)
	}
	has(t, f, noon.Add(time.Hour))
	for n := range good {
		bad := slices.Clone(good)
		bad[n] ^= 0x01
		for what, data := range map[string][]byte{"cut off": good[:n], "changed": bad} {
			if err := os.WriteFile(f.path+confirmedSuffix, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if has(t, f, noon); t.Failed() {
				t.Fatalf("%s at %d: %q", what, n, data)
			}
		}
	}
	if err := f.confirm(events.Digest{1}, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	has(t, f, noon)
	if err := f.confirm(digest, noon.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	has(t, f, noon)
}

func TestAWriteThatFailsLeavesTheOldFileAndNothingElse(t *testing.T) {
	f := newFile(t)
	written(t, f, noon)
	full := errors.New("no space left on device")
	for _, text := range []string{"", "half of it"} {
		err := replace(f.path, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return errors.Join(err, full)
		})
		if !errors.Is(err, full) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := (&limited{io.Discard, 10}).Write(make([]byte, 11)); err == nil {
		t.Error("more than the limit is taken")
	}
	has(t, f, noon)
	if got := files(t, f); got != "keys\n" {
		t.Errorf("files: %q", got)
	}
	if _, err := (file{filepath.Join(f.path, "keys")}).write(newBucket().at(noon)); err == nil {
		t.Error("written into what is no directory")
	}
}

// A snapshot that another process is writing is not a leftover.
func TestLeftoversOfKilledProcessesAreRemoved(t *testing.T) {
	f := newFile(t)
	written(t, f, noon)
	for name, age := range map[string]time.Duration{
		"keys.new-1": leftoverAge, "keys.new-2": 0, "keys.confirmed.new-1": leftoverAge, "keys.confirmed.new-2": time.Minute,
		"keys2.new-1": 2 * leftoverAge, "keys.old": 2 * leftoverAge, "other.new-1": 2 * leftoverAge, "keysx.confirmed.new-1": 2 * leftoverAge,
	} {
		path := filepath.Join(filepath.Dir(f.path), name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, noon, noon.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.clean(noon); err != nil {
		t.Fatal(err)
	}
	want := "keys\nkeys.confirmed.new-2\nkeys.new-2\nkeys.old\nkeys2.new-1\nkeysx.confirmed.new-1\nother.new-1\n"
	if got := files(t, f); got != want {
		t.Errorf("files:\n%swant:\n%s", got, want)
	}
}

func TestTwoWritersOfOneFileNeverMixIt(t *testing.T) {
	f := newFile(t)
	written(t, f, noon)
	var writers sync.WaitGroup
	for w := range 2 {
		b := newBucket()
		writers.Go(func() {
			for i := range 50 {
				b.put(fmt.Sprintf("key.orders.w%d-%d", w, i), `{"kty":"OKP"`)
				digest, err := f.write(b.at(noon.Add(time.Duration(i) * time.Second)))
				if err == nil {
					err = f.confirm(digest, noon.Add(time.Hour))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for reads := 0; ; reads++ {
		if _, _, err := f.read(); err != nil {
			t.Fatalf("after %d reads: %v", reads, err)
		}
		select {
		case <-done:
			if got := files(t, f); got != "keys\nkeys.confirmed\n" {
				t.Errorf("files: %q", got)
			}
			return
		default:
		}
	}
}

// childPath, if it is set, makes this test binary a process that writes the file until it is killed.
const childPath = "KEYHERALD_TEST_SNAPSHOT"

func TestF_KillNineWhileWritingLeavesTheOldFileOrTheNewOne(t *testing.T) {
	if path := os.Getenv(childPath); path != "" {
		b := newBucket()
		for i := range 2000 { // more than one write of the buffer
			b.put(fmt.Sprintf("revoked.orders.k%d", i), "")
		}
		fmt.Println("writing")
		for {
			digest, err := file{path}.write(b.at(noon))
			if err == nil {
				err = file{path}.confirm(digest, noon)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	f := newFile(t)
	written(t, f, noon)
	leftovers := 0
	for i := range 20 {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), childPath+"="+f.path)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = io.ReadFull(out, make([]byte, len("writing")))
		}
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Duration(i) * time.Millisecond); time.Now().Before(deadline); { // at any moment
			has(t, f, noon)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		has(t, f, noon)
		leftovers = strings.Count(files(t, f), tempInfix)
	}
	t.Logf("%d leftovers", leftovers)
	if err := f.clean(time.Now().Add(leftoverAge)); err != nil {
		t.Fatal(err)
	}
	if left := strings.Count(files(t, f), tempInfix); left > 0 {
		t.Errorf("%d leftovers stay", left)
	}
}

func TestTheErrorOfNoFileIsThatOfNoFile(t *testing.T) {
	if _, _, err := newFile(t).read(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

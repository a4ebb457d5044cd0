package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// upgradeIssuer is the issuer of all archives in testdata/upgrade.
const upgradeIssuer = "https://auth.example.com"

// archive is a copy of a data directory that an earlier keyherald has made, and of what belongs to it.
type archive struct {
	t        *testing.T
	dir      string
	httpAddr string
	natsAddr string
}

// eachArchive calls test with a copy of each archive.
func eachArchive(t *testing.T, test func(*testing.T, *archive)) {
	files, err := filepath.Glob("testdata/upgrade/*.tar.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			a := &archive{t: t, dir: t.TempDir(), httpAddr: eventstest.FreeAddress(t), natsAddr: eventstest.FreeAddress(t)}
			if err := unpack(file, a.dir); err != nil {
				t.Fatal(err)
			}
			test(t, a)
		})
	}
}

func unpack(file, to string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			err = root.MkdirAll(h.Name, h.FileInfo().Mode().Perm())
		} else {
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = root.WriteFile(h.Name, content, h.FileInfo().Mode().Perm())
			}
		}
		if err != nil {
			return err
		}
	}
}

func (a *archive) file(name string) string { return filepath.Join(a.dir, name) }

func (a *archive) read(name string) string {
	a.t.Helper()
	text, err := os.ReadFile(a.file(name))
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// serve starts the keyherald of today on the data directory, as a proxy's upstream that hands on certificates.
func (a *archive) serve() *process {
	a.t.Helper()
	p := startProcess(a.t, "serve", "--data", a.file("d"), "--http", a.httpAddr, "--nats-listen", a.natsAddr, "--issuer", upgradeIssuer,
		"--trusted-proxy", "127.0.0.1", "--client-cert-header", "X-Client-Cert")
	p.waitReady(a.t, a.httpAddr)
	return p
}

// cli runs a command of today's that must succeed.
func (a *archive) cli(args ...string) string {
	a.t.Helper()
	out, errs, err := runCLI("", append(args, "--data", a.file("d"))...)
	if err != nil {
		a.t.Fatalf("%v: %v\n%s", args, err, errs)
	}
	return out
}

// nats runs the plain nats command as operator.
func (a *archive) nats(args ...string) string {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), eventstest.NatsCLI(a.t), append([]string{"--server", a.natsAddr, "--nkey", a.file("d/nats/operator.nk")}, args...)...)
	cmd.Env = []string{"HOME=" + a.t.TempDir()}
	out, err := cmd.Output()
	if err != nil {
		a.t.Fatalf("nats %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// connect connects to the running server in a role.
func (a *archive) connect(role bus.Role) *bus.Conn {
	a.t.Helper()
	conn, err := bus.Connect(a.t.Context(), bus.Config{URL: "nats://" + a.natsAddr, SeedFile: a.file("d/nats/" + string(role) + ".nk")})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(conn.Close)
	return conn
}

// object decodes JSON that was expected, or read.
func (a *archive) object(text string) (v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		a.t.Fatalf("%v in %s", err, text)
	}
	return v
}

// missing returns what old says and now does not: more members may be said now, nothing else.
func missing(path string, old, now any) (list []string) {
	switch old := old.(type) {
	case map[string]any:
		object, _ := now.(map[string]any)
		for name, value := range old {
			list = append(list, missing(path+"/"+name, value, object[name])...)
		}
		return list
	case []any:
		if elements, ok := now.([]any); ok && len(elements) == len(old) {
			for i, value := range old {
				list = append(list, missing(path+"/-", value, elements[i])...)
			}
			return list
		}
	}
	if !reflect.DeepEqual(old, now) {
		before, _ := json.Marshal(old)
		after, _ := json.Marshal(now)
		list = append(list, path+" was "+string(before)+" and is "+string(after))
	}
	return list
}

// TestThisVersionReadsWhatEarlierOnesHaveWritten: all that an earlier keyherald has said of its records, this one says, too, and every
// credential is worth what it was.
func TestThisVersionReadsWhatEarlierOnesHaveWritten(t *testing.T) {
	eachArchive(t, func(t *testing.T, a *archive) {
		before := a.untouchable()
		a.serve()
		a.saysTheSame()
		a.credentialsCount()
		a.snapshotCounts()
		a.olderCanRead(before)
	})
}

func (a *archive) saysTheSame() {
	a.t.Helper()
	commands, err := os.ReadDir(a.file("expect"))
	if err != nil || len(commands) < 18 {
		a.t.Fatalf("%d commands: %v", len(commands), err)
	}
	for _, c := range commands {
		old, now := a.object(a.read("expect/"+c.Name())), a.object(a.cli(strings.Split(c.Name(), "+")...))
		if c.Name() == "status+--json" {
			old = lasting(old.(map[string]any))
		}
		for _, what := range missing("", old, now) {
			a.t.Errorf("%s: %s", c.Name(), what)
		}
	}
}

// lasting is what a status says that is so whenever it is asked: not about the keys of nodes, which have ended.
func lasting(status map[string]any) map[string]any {
	for _, e := range status["issuers"].([]any) {
		if e := e.(map[string]any); e["name"] == "platform" {
			delete(e, "keys")
		}
	}
	return map[string]any{"issuers": status["issuers"], "rejected": status["rejected"], "inbox_prefix": status["inbox_prefix"]}
}

// untouchable returns the files that a start does not change, as they are.
func (a *archive) untouchable() map[string]string {
	a.t.Helper()
	files := map[string]string{}
	for name, text := range a.files() {
		// What a running serve notes, older ones do not look at.
		notes := []string{"serve.json", "nats/lock", "nats/REVISIONS", "nats/users.applied"}
		if strings.HasPrefix(name, "nats/store/") || slices.Contains(notes, name) {
			continue
		}
		files[name] = text
	}
	if len(files) < 6 {
		a.t.Fatalf("files: %v", slices.Collect(maps.Keys(files)))
	}
	return files
}

// files returns all files of the data directory.
func (a *archive) files() map[string]string {
	a.t.Helper()
	files := map[string]string{}
	data := os.DirFS(a.file("d"))
	err := fs.WalkDir(data, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(data, name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return files
}

// olderCanRead checks what an older keyherald looks at before it starts on the directory again, and that nothing was written to
// KEYS but signing keys of this node: in a form that events/testdata/golden pins.
func (a *archive) olderCanRead(before map[string]string) {
	a.t.Helper()
	if now := a.untouchable(); !maps.Equal(now, before) {
		a.t.Errorf("the files beside the store are not what they were: now %v", slices.Sorted(maps.Keys(now)))
	}
	var last uint64
	for _, bucket := range bus.Buckets() {
		var old, now struct {
			Config map[string]any
			State  struct {
				LastSeq uint64 `json:"last_seq"`
			}
		}
		for text, into := range map[string]any{a.read("expect-stream-" + string(bucket) + ".json"): &old, a.nats("stream", "info", "KV_"+string(bucket), "--json"): &now} {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				a.t.Fatal(err)
			}
		}
		for _, config := range []map[string]any{old.Config, now.Config} { // a later server writes its own version there
			maps.DeleteFunc(config["metadata"].(map[string]any), func(name string, _ any) bool { return strings.HasPrefix(name, "_nats.") })
		}
		for _, what := range append(missing("", old.Config, now.Config), missing("", now.Config, old.Config)...) {
			a.t.Errorf("%s is set up otherwise: an older version would not start: %s", bucket, what)
		}
		switch {
		case bucket == bus.Keys:
			last = old.State.LastSeq
		case bucket == bus.Clients && now.State.LastSeq != old.State.LastSeq:
			a.t.Errorf("%s: revision %d, was %d: something was rewritten", bucket, now.State.LastSeq, old.State.LastSeq)
		}
	}
	for _, name := range a.namesAfter(last) {
		if !strings.HasPrefix(name, "key.platform.") {
			a.t.Errorf("%s was written, and nobody has asked for it", name)
		}
	}
}

// namesAfter returns the names that were written in KEYS after a revision.
func (a *archive) namesAfter(revision uint64) (names []string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	source := a.connect(bus.Operator).Source(bus.Keys)
	state, err := source.State(ctx)
	if err != nil {
		a.t.Fatal(err)
	}
	watch, err := source.Watch(ctx, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	defer watch.Stop()
	for {
		select {
		case d := <-watch.Deliveries():
			if d.Entry.Revision > revision {
				names = append(names, d.Entry.Name)
			}
			if max(d.Through, d.Entry.Revision) >= state.Last {
				return names
			}
		case <-ctx.Done():
			a.t.Fatal("KEYS cannot be read to its end")
		}
	}
}

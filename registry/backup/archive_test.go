package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry/backup"
)

// seal adds the last line.
func seal(body string, records int) []byte {
	return fmt.Appendf(nil, "%s{\"sha256\":\"%x\",\"records\":%d}\n", body, sha256.Sum256([]byte(body)), records)
}

const testHeader = `{"format":"keyherald backup","version":1,"made":"2026-11-26T00:00:00Z","by":"tester","nats":"2.15.2"}` + "\n"

// section is a bucket with the given lines.
func section(b bus.Bucket, lines ...string) string {
	var s strings.Builder
	fmt.Fprintf(&s, `{"bucket":%q,"stream":%q,"created":"2026-11-26T00:00:00Z","first_seq":1,"last_seq":9}`+"\n", string(b), b.Stream())
	for _, line := range lines {
		s.WriteString(line + "\n")
	}
	fmt.Fprintf(&s, `{"end":%q,"through":9,"records":%d}`+"\n", string(b), len(lines))
	return s.String()
}

func emptySections(buckets ...bus.Bucket) string {
	var s strings.Builder
	for _, b := range buckets {
		s.WriteString(section(b))
	}
	return s.String()
}

// withLines is a whole file with these lines in KEYS.
func withLines(lines ...string) []byte {
	return seal(testHeader+section(bus.Keys, lines...)+emptySections(bus.Clients, bus.Usage, bus.Assertions, bus.Revocations), len(lines))
}

func line(name string, seq int, value string) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a string
	}
	return fmt.Sprintf(`{"name":%q,"seq":%d,"time":"2026-11-26T00:00:00Z","value":%s}`, name, seq, text)
}

// The format is an interface: a file of the first version can be read for ever.
func TestGoldenFile(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(filepath.Join("testdata", "v1.backup"))
	if err != nil {
		t.Fatal(err)
	}
	sum := open(t, file).Summary
	if sum.Records != 8 || sum.Platform.Issuer != "https://auth.example.com" || sum.Buckets[0].Through != 12 || sum.By != "cli:alice@laptop" {
		t.Errorf("%+v", sum)
	}
	w := empty(t)
	w.restore(file, backup.Options{Now: func() time.Time { return time.Date(2026, 11, 26, 0, 10, 0, 0, time.UTC) }})
	w.has(bus.Keys, map[string]string{
		"issuer.platform": platformJSON, "issuer.orders": clientJSON(`"later":1`), "key.orders.k1": eventstest.KeyJSON(1), "revoked.orders.k0": "\x00\xff",
	})
	w.has(bus.Clients, map[string]string{"orders": secretJSON("a")})
	w.has(bus.Revocations, map[string]string{token(1).String(): `{"exp":1795653000}`})
}

// isRefusal reports whether it is one of the errors by which a file is refused.
func isRefusal(err error) bool {
	return errors.Is(err, backup.ErrDamaged) || errors.Is(err, backup.ErrVersion) || errors.Is(err, backup.ErrNoBackup)
}

func TestEveryDamageIsFound(t *testing.T) {
	t.Parallel()
	whole := withLines(line("issuer.orders", 1, clientJSON()), line("key.orders.k1", 2, eventstest.KeyJSON(1)), line("weird", 3, "x"))
	open(t, whole)
	try := func(what string, file []byte) {
		t.Helper()
		if _, err := backup.Open(bytes.NewReader(file), int64(len(file)), nil); !isRefusal(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range len(whole) {
		try(fmt.Sprintf("cut off after %d bytes", n), whole[:n])
		for _, bit := range []int{n % 8, 5} { // 5 makes another letter of the same
			file := bytes.Clone(whole)
			file[n] ^= 1 << bit
			try(fmt.Sprintf("bit %d of byte %d", bit, n), file)
		}
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for i := range len(lines) - 1 {
		try(fmt.Sprintf("without line %d", i+1), bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil))
		try(fmt.Sprintf("line %d twice", i+1), bytes.Join(append(append(append([][]byte{}, lines[:i+1]...), lines[i]), lines[i+1:]...), nil))
	}
	try("twice", append(bytes.Clone(whole), whole...))
	try("something behind", append(bytes.Clone(whole), ' '))
}

func TestHostileFilesAreRefused(t *testing.T) {
	t.Parallel()
	good := line("issuer.orders", 1, clientJSON())
	rest := emptySections(bus.Clients, bus.Usage, bus.Assertions, bus.Revocations)
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":             {nil, "not a file of keyherald backup"},
		"another file":        {[]byte("\x7fELF\x02\x01\n"), "not a file of keyherald backup"},
		"another JSON":        {[]byte(`{"keys":[]}` + "\n"), "not a file of keyherald backup"},
		"another version":     {seal(strings.Replace(testHeader, `"version":1`, `"version":2`, 1), 0), "version 2, and this keyherald reads 1"},
		"no end of line":      {bytes.Repeat([]byte("x"), 1<<20), "not a file of keyherald backup"},
		"a long line":         {withLines(line("issuer.orders", 1, strings.Repeat("x", 70_000))), "longer than"},
		"a long name":         {withLines(line(strings.Repeat("x", 5000), 1, "x")), "a name of 5000 bytes"},
		"no name":             {withLines(`{"seq":1,"time":"2026-11-26T00:00:00Z"}`), "a name of 0 bytes"},
		"a member twice":      {withLines(`{"name":"a","name":"b","seq":1,"time":"2026-11-26T00:00:00Z"}`), "line 3"},
		"a value twice":       {withLines(`{"name":"a","seq":1,"time":"2026-11-26T00:00:00Z","value":"x","value64":"eA=="}`), "twice"},
		"bad base64":          {withLines(`{"name":"a","seq":1,"time":"2026-11-26T00:00:00Z","value64":"eA"}`), "value64"},
		"a large number":      {withLines(`{"name":"a","seq":99999999999999999999,"time":"2026-11-26T00:00:00Z"}`), "seq"},
		"a negative number":   {withLines(`{"name":"a","seq":-1,"time":"2026-11-26T00:00:00Z"}`), "negative"},
		"no time":             {withLines(`{"name":"a","seq":1}`), "time"},
		"a sequence twice":    {withLines(good, good), "sequence 1 follows 1"},
		"a bucket twice":      {seal(testHeader+section(bus.Keys)+section(bus.Keys), 0), "not been there before"},
		"an unknown bucket":   {seal(testHeader+section("OTHER"), 0), "not been there before"},
		"a wrong count":       {seal(testHeader+section(bus.Keys, good)+rest, 2), "1 records, not 2"},
		"no bucket":           {seal(testHeader, 0), "line 2"},
		"another's platform":  {seal(strings.Replace(testHeader, `"by"`, `"iss":"https://x","by"`, 1)+section(bus.Keys)+rest, 0), "another platform"},
		"only a header":       {[]byte(testHeader), "the file ends here"},
		"no buckets, no seal": {[]byte(testHeader + section(bus.Keys)), "the file ends here"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := backup.Open(bytes.NewReader(tt.file), int64(len(tt.file)), nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, and not %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "11qYAYKxCr") {
				t.Error("what is in the file is in the error")
			}
		})
	}
}

// A record that is malformed, or whose name could mean something else to a server, is nothing to restore, however whole the file is.
func TestNothingMalformedIsWritten(t *testing.T) {
	t.Parallel()
	private := `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`
	file := seal(testHeader+section(bus.Keys,
		line("issuer.orders", 1, `{"type":"client"}`), line("issuer.*", 2, clientJSON()), line("issuer.platform", 3, clientJSON()), line("key.orders.>", 4, eventstest.KeyJSON(1)),
		line("key.orders.k1", 5, private), line("issuer.a b", 6, clientJSON()), line("issuer.a\\r\\nPUB x 1", 7, clientJSON()), line("revoked.orders.*", 8, ""),
	)+section(bus.Clients, line("*", 1, `{}`), line("orders", 2, `{"secrets":1}`))+
		section(bus.Usage, line("key.orders.*", 1, `{"at":1}`), line("key.orders.k1", 2, `{"at":"x"}`), line("other.orders.k1", 3, `{"at":1}`))+
		section(bus.Assertions, line(">", 1, ""))+section(bus.Revocations, line("jti.*", 1, "")), 15)
	w := empty(t)
	plan := w.restore(file, backup.Options{Now: func() time.Time { return time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) }})
	for _, b := range bus.Buckets() {
		w.has(b, nil)
	}
	if plan.Writes() != 0 {
		t.Errorf("%d writes", plan.Writes())
	}
}

// What was read twice must be the same twice.
func TestFileThatChangesIsNoticed(t *testing.T) {
	t.Parallel()
	file := withLines(line("issuer.orders", 1, clientJSON()), line("issuer.billing", 2, clientJSON()))
	a := open(t, file)
	w := empty(t)
	plan, err := a.Plan(t.Context(), w.conn, backup.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	copy(file, bytes.Replace(file, []byte("https://billing"), []byte("https://killing"), 2))
	if err := a.Restore(t.Context(), w.conn, plan, backup.Options{}, "tester", nil); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	w.has(bus.Keys, nil)
}

// failing is a source that ends in the middle.
type failing struct{ *bus.Conn }

func (f failing) Read(ctx context.Context, b bus.Bucket, take func(events.Entry) error) (uint64, error) {
	if _, err := f.Conn.Read(ctx, b, take); err != nil || b != bus.Clients {
		return 0, err
	}
	return 0, bus.ErrUnreachable
}

func TestSaveThatFailsHasNoSeal(t *testing.T) {
	t.Parallel()
	w := start(t)
	var file bytes.Buffer
	if _, err := backup.Save(t.Context(), failing{w.conn}, &file, "tester", nil); !errors.Is(err, bus.ErrUnreachable) {
		t.Errorf("error %v", err)
	}
	if _, err := backup.Open(bytes.NewReader(file.Bytes()), int64(file.Len()), nil); !isRefusal(err) {
		t.Errorf("what was written before is taken for a backup: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "v1.backup"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(withLines())
	f.Add(withLines(line("issuer.orders", 1, clientJSON()), line("key.orders.k1", 2, eventstest.KeyJSON(1))))
	f.Add(withLines(`{"name64":"/w==","seq":1,"time":"2026-11-26T00:00:00Z","value64":"/w==","deleted":true}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		// A mutation nearly always breaks the checksum: mend it, to get behind it.
		if i := bytes.LastIndex(bytes.TrimSuffix(file, []byte("\n")), []byte("\n")) + 1; i > 0 {
			file = seal(string(file[:i]), bytes.Count(file[:i], []byte(`"seq":`)))
		}
		a, err := backup.Open(bytes.NewReader(file), int64(len(file)), nil)
		if err != nil {
			if !isRefusal(err) {
				t.Fatalf("unexpected error: %v", err)
			}
			return
		}
		plan, err := a.Plan(t.Context(), nowhere{}, backup.Options{}, nil)
		if err != nil {
			t.Fatalf("a file that is whole cannot be planned: %v", err)
		}
		if plan.Writes() > a.Summary.Records {
			t.Fatalf("%d writes of %d records", plan.Writes(), a.Summary.Records)
		}
	})
}

// nowhere has empty buckets.
type nowhere struct{}

func (nowhere) Extent(context.Context, bus.Bucket) (bus.Extent, error) {
	return bus.Extent{First: 1}, nil
}

func (nowhere) Read(context.Context, bus.Bucket, func(events.Entry) error) (uint64, error) {
	return 0, nil
}

func (nowhere) Get(context.Context, bus.Bucket, string) (events.Entry, error) {
	return events.Entry{}, bus.ErrNotFound
}

func (nowhere) ServerVersion() string { return "" }

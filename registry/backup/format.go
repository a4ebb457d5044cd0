package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/strictjson"
)

// The limits of a file. One that is over a limit is refused before it costs more than that.
const (
	// maxLine is the length of a line, in bytes, without its end. The streams take messages of up to 17 KiB: a value that is larger than a
	// record may be is malformed, and the file that has it is whole. A value takes at most twice its size in text, or 4/3 of it in base64;
	// so does a name, and callers are short.
	maxLine = strictjson.MaxSize
	// maxRecordName is the length of a name, in bytes: a server takes no line of its protocol that is longer than 4 KiB.
	maxRecordName = 4 << 10
	// maxNames is how many different names there may be in all: each takes some 150 bytes of memory.
	maxNames = 20_000_000
)

const (
	formatName    = "keyherald backup"
	formatVersion = 1
)

// header is the first line.
type header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
	By      string    `json:"by"`
	Server  string    `json:"nats"`              // version of the server
	Issuer  string    `json:"iss,omitempty"`     // of the platform
	Account string    `json:"account,omitempty"` // of the platform
}

// opening is the line before the messages of a bucket.
type opening struct {
	Bucket  bus.Bucket `json:"bucket"`
	Stream  string     `json:"stream"`
	Created time.Time  `json:"created"`
	First   uint64     `json:"first_seq"`
	Last    uint64     `json:"last_seq"`
}

// closing is the line after them.
type closing struct {
	Bucket  bus.Bucket `json:"end"`
	Through uint64     `json:"through"`
	Records int        `json:"records"`
}

// seal is the last line.
type seal struct {
	SHA256  string `json:"sha256"`
	Records int    `json:"records"`
}

// message is the line of a message. Name and Value are text; what is none is in the member with 64 at its end, in base64.
type message struct {
	Name    string    `json:"name,omitempty"`
	Name64  []byte    `json:"name64,omitempty"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Caller  string    `json:"caller,omitempty"`
	Deleted bool      `json:"deleted,omitempty"`
	Value   string    `json:"value,omitempty"`
	Value64 []byte    `json:"value64,omitempty"`
}

func messageOf(e events.Entry) message {
	m := message{Seq: e.Revision, Time: e.Time.UTC(), Caller: e.Caller, Deleted: e.Deleted}
	if isText(e.Name) {
		m.Name = e.Name
	} else {
		m.Name64 = []byte(e.Name)
	}
	if value := string(e.Value); isText(value) {
		m.Value = value
	} else {
		m.Value64 = e.Value
	}
	return m
}

// isText reports whether JSON carries s unchanged, and at most at twice its size.
func isText(s string) bool {
	for _, r := range s {
		if r < ' ' || r == utf8.RuneError || r == '\u2028' || r == '\u2029' || !unicode.IsPrint(r) && r > unicode.MaxASCII {
			return false
		}
	}
	return true
}

// appendLine appends v as a line of JSON.
func appendLine(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// sum is a SHA-256.
type sum [sha256.Size]byte

// lineReader reads the members of one line.
type lineReader struct {
	obj strictjson.Object
	err error
}

func (l *lineReader) parse(line []byte) error {
	l.err = nil
	return l.obj.Parse(line)
}

func (l *lineReader) has(name string) bool { return l.obj.Get(name) != nil }

func (l *lineReader) fail(name string, err error) {
	if l.err == nil && err != nil {
		l.err = fmt.Errorf("member %s: %w", name, err)
	}
}

func (l *lineReader) text(name string) string {
	value := l.obj.Get(name)
	if value == nil {
		return ""
	}
	s, err := strictjson.String(value)
	l.fail(name, err)
	return s
}

func (l *lineReader) bytes64(name string) []byte {
	b, err := base64.StdEncoding.Strict().DecodeString(l.text(name))
	l.fail(name, err)
	return b
}

func (l *lineReader) number(name string) uint64 {
	value := l.obj.Get(name)
	if value == nil {
		l.fail(name, errors.New("missing"))
		return 0
	}
	n, err := strictjson.Int(value)
	if err == nil && n < 0 {
		err = errors.New("negative")
	}
	l.fail(name, err)
	return uint64(max(n, 0))
}

func (l *lineReader) flag(name string) bool {
	value := l.obj.Get(name)
	if value == nil {
		return false
	}
	b, err := strictjson.Bool(value)
	l.fail(name, err)
	return b
}

func (l *lineReader) time(name string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, l.text(name))
	l.fail(name, err)
	return t
}

// entry reads the line of a message.
func (l *lineReader) entry() (events.Entry, error) {
	e := events.Entry{
		Name: l.text("name"), Revision: l.number("seq"), Time: l.time("time"), Caller: l.text("caller"), Deleted: l.flag("deleted"),
		Value: []byte(l.text("value")),
	}
	if l.has("name64") {
		e.Name += string(l.bytes64("name64"))
	}
	if l.has("value64") {
		e.Value = append(e.Value, l.bytes64("value64")...)
	}
	switch {
	case l.err != nil:
		return e, l.err
	case l.has("name64") && l.has("name"), l.has("value64") && l.has("value"):
		return e, errors.New("a name or value stands there twice, as text and in base64")
	case e.Name == "" || len(e.Name) > maxRecordName:
		return e, fmt.Errorf("a name of %d bytes", len(e.Name))
	}
	if e.Deleted { // what a marker carries means nothing, whoever has made the file
		e.Value = nil
	}
	return e, nil
}

package jws

import (
	"bytes"
	"errors"
	"strings"
	"unsafe"

	"github.com/keyherald/keyherald/events/strictjson"
)

var (
	errNotString = errors.New("not a string")
	errEmpty     = errors.New("empty")
	errControl   = errors.New("has a control character")
)

// texts makes the strings of one token with one allocation: each is a part of what the builder holds, which is never
// changed, only added to. With borrow it makes none at all: each string is a part of the buffer in which the claims were decoded,
// and holds as long as the buffer is left alone.
type texts struct {
	room   int // bytes to allocate, once they are needed
	borrow bool
	b      strings.Builder
}

// usualTexts is room for the strings of any usual token, in bytes. Those that need more allocate more.
const usualTexts = 1 << 10

// text returns the string that value, a JSON text, stands for.
func (t *texts) text(value []byte) (string, error) {
	if t.borrow && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		raw := value[1 : len(value)-1]
		return unsafe.String(unsafe.SliceData(raw), len(raw)), nil
	}
	return t.copied(value)
}

// copied is text for a value in a buffer that does not last as long as the token.
func (t *texts) copied(value []byte) (string, error) {
	if value[0] != '"' {
		return "", errNotString
	}
	raw := value[1 : len(value)-1]
	if bytes.IndexByte(raw, '\\') >= 0 {
		return strictjson.String(value)
	}
	if t.b.Cap() == 0 {
		t.b.Grow(t.room)
	}
	from := t.b.Len()
	t.b.Write(raw)
	return t.b.String()[from:], nil
}

// line returns the string that value stands for, which must not have control characters: it will be printed and logged.
func (t *texts) line(value []byte) (string, error) {
	s, err := t.text(value)
	if err == nil {
		err = checkLine(s, value)
	}
	return s, err
}

// identifier is line for what must not be empty, either: an empty name could be taken for a missing one.
func (t *texts) identifier(value []byte) (string, error) {
	s, err := t.text(value)
	if err == nil {
		err = checkIdentifier(s, value)
	}
	return s, err
}

// copiedIdentifier is identifier for a value in a buffer that does not last as long as the token.
func (t *texts) copiedIdentifier(value []byte) (string, error) {
	s, err := t.copied(value)
	if err == nil {
		err = checkIdentifier(s, value)
	}
	return s, err
}

// checkLine refuses control characters in s, which value stands for.
func checkLine(s string, value []byte) error {
	// The parser lets no control character but DEL stand for itself.
	escaped := len(s) != len(value)-2
	if strings.IndexByte(s, 0x7f) >= 0 || escaped && hasControl(s) {
		return errControl
	}
	return nil
}

func checkIdentifier(s string, value []byte) error {
	if s == "" {
		return errEmpty
	}
	return checkLine(s, value)
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 {
			return true
		}
	}
	return false
}

package jws

import (
	"bytes"
	"errors"
	"strings"

	"github.com/keyherald/keyherald/events/strictjson"
)

var (
	errNotString = errors.New("not a string")
	errEmpty     = errors.New("empty")
	errControl   = errors.New("has a control character")
)

// texts makes the strings of one token with one allocation: each is a part of what the builder holds, which is never
// changed, only added to.
type texts struct {
	room int // bytes to allocate, once they are needed
	b    strings.Builder
}

// usualTexts is room for the strings of any usual token, in bytes. Those that need more allocate more.
const usualTexts = 1 << 10

// text returns the string that value, a JSON text, stands for.
func (t *texts) text(value []byte) (string, error) {
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
	if err != nil {
		return "", err
	}
	// The parser lets no control character but DEL stand for itself.
	escaped := len(s) != len(value)-2
	if strings.IndexByte(s, 0x7f) >= 0 || escaped && hasControl(s) {
		return "", errControl
	}
	return s, nil
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 {
			return true
		}
	}
	return false
}

// identifier is line for what must not be empty, either: an empty name could be taken for a missing one.
func (t *texts) identifier(value []byte) (string, error) {
	s, err := t.line(value)
	if err == nil && s == "" {
		err = errEmpty
	}
	return s, err
}

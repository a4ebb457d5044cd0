package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// Records, tokens and the answers of servers are written by others. What of them is printed or logged goes through
// printable, or as JSON through asciiJSON, so that it cannot steer the terminal on which it is read.

// printable escapes what is no letter, digit, mark or space to be seen: control characters, those that change the
// direction of text, and bytes that are not UTF-8.
func printable(s string) string {
	plain := func(r rune) bool { return r != utf8.RuneError && strconv.IsPrint(r) }
	if !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if plain(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// oneLine is an error's text for a terminal. Joined errors have line breaks between them.
func oneLine(err error) string {
	return printable(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// asciiJSON writes JSON, of which each call of Write gets whole characters, and escapes what is not printable. JSON itself has
// that below U+0020 only.
type asciiJSON struct{ w io.Writer }

func (a asciiJSON) Write(p []byte) (int, error) {
	text := make([]byte, 0, len(p))
	for rest := p; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			text = append(text, rest[:size]...)
		} else {
			text = appendEscape(text, r)
		}
		rest = rest[size:]
	}
	if _, err := a.w.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// appendEscape appends the escape of a character in a JSON string (RFC 8259 §7).
func appendEscape(b []byte, r rune) []byte {
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return fmt.Appendf(b, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}

// output is a writer for several goroutines. It remembers its first error, which those who print lines do not look at.
type output struct {
	mu  sync.Mutex // for what follows
	w   io.Writer
	err error
}

func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

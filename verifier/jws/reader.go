package jws

import (
	"hash/maphash"
	"sync/atomic"
)

// Reader reads one token after the other, and allocates nothing for those of usual form: each is read into the place of the
// one before. It is for one goroutine at a time. The zero value is ready.
type Reader struct{ token Token }

// Parse is the function [Parse] for a token that is needed only until the next call: its strings and slices, those of Header
// excepted, are parts of the reader's buffers. Headers that known has are not read again; known may be nil.
func (r *Reader) Parse(token string, known *Headers) (*Token, error) {
	c, err := cut(token)
	if err != nil {
		return nil, err
	}
	t := &r.token
	if h := known.find(c.header); h != nil {
		t.Header = *h
	} else if t.Header, err = decodeHeader(c.header, new(texts), 0); err != nil {
		return nil, err
	}
	if err := t.decode(token, c); err != nil {
		return nil, err
	}
	t.Claims = Claims{}
	if err := t.readClaims(&texts{borrow: true}); err != nil {
		return nil, err
	}
	return t, nil
}

const (
	// knownHeaders is how many headers are remembered: one for each key that signs, of so many keys.
	knownHeaders = 1 << 12
	// maxKnownHeader is the length of a header, as it stands in the token, that is remembered: kid and typ of usual length.
	// Together they bound the memory of a [Headers] to 3 MiB.
	maxKnownHeader = 320
)

// Headers remembers what headers say: all tokens of one signer have the same one. It may be used by any number of goroutines,
// and takes no lock.
//
// Only what [Headers.Add] is given is remembered. Give it the headers of tokens whose signature was verified: then nobody
// can make it forget the others by sending tokens.
type Headers struct {
	seed  maphash.Seed
	slots []atomic.Pointer[knownHeader] // one place for all headers of one hash: the latest has it
}

type knownHeader struct {
	text   string
	header Header
}

// NewHeaders returns a Headers that knows none.
func NewHeaders() *Headers {
	return &Headers{maphash.MakeSeed(), make([]atomic.Pointer[knownHeader], knownHeaders)}
}

// Add remembers the header of t.
func (h *Headers) Add(t *Token) {
	text := t.data[:t.headerEnd]
	if len(text) > maxKnownHeader {
		return
	}
	slot := h.slot(maphash.Bytes(h.seed, text))
	if k := slot.Load(); k == nil || k.text != string(text) {
		slot.Store(&knownHeader{string(text), t.Header})
	}
}

func (h *Headers) find(text string) *Header {
	if h == nil || len(text) > maxKnownHeader {
		return nil
	}
	if k := h.slot(maphash.String(h.seed, text)).Load(); k != nil && k.text == text {
		return &k.header
	}
	return nil
}

func (h *Headers) slot(hash uint64) *atomic.Pointer[knownHeader] { return &h.slots[hash%knownHeaders] }

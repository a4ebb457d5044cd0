package events

import (
	"bufio"
	"encoding/binary"
	"errors"
)

// snapshotWriter writes the parts of a snapshot. An error shows when the writer is flushed.
type snapshotWriter struct {
	w     *bufio.Writer
	space [binary.MaxVarintLen64]byte
	json  builder
}

func (out *snapshotWriter) raw(s string) { _, _ = out.w.WriteString(s) }

func (out *snapshotWriter) number(n uint64) {
	_, _ = out.w.Write(binary.AppendUvarint(out.space[:0], n))
}

func (out *snapshotWriter) time(t int64) { _, _ = out.w.Write(binary.AppendVarint(out.space[:0], t)) }

func (out *snapshotWriter) text(s string) {
	out.number(uint64(len(s)))
	out.raw(s)
}

// record writes a record's JSON as a text.
func (out *snapshotWriter) record(value snapshotValue) {
	out.json.buf = out.json.buf[:0]
	value.writeSnapshot(&out.json)
	out.number(uint64(len(out.json.buf) + len("{}")))
	out.raw("{")
	_, _ = out.w.Write(out.json.buf)
	out.raw("}")
}

// snapshotReader reads the parts of a snapshot. The first error stays; after it, everything is zero.
type snapshotReader struct {
	rest []byte
	left uint64 // elements of the list that is being read
	list bool   // is being read
	err  error
}

func (in *snapshotReader) check(err error) {
	if in.err == nil && err != nil {
		in.err, in.rest = err, nil
	}
}

var (
	errCutOff = errors.New("a part is cut off, or not written as it should be")
	errOrder  = errors.New("names are not in order")
)

// number reads a number of at most limit.
func (in *snapshotReader) number(limit uint64) uint64 {
	n, size := binary.Uvarint(in.rest)
	if size <= 0 || n > limit || in.err != nil {
		in.check(errCutOff)
		return 0
	}
	in.rest = in.rest[size:]
	return n
}

func (in *snapshotReader) time() int64 {
	t, size := binary.Varint(in.rest)
	if size <= 0 || in.err != nil {
		in.check(errCutOff)
		return 0
	}
	in.rest = in.rest[size:]
	return t
}

// text reads a text. It is a part of what is read, not a copy.
func (in *snapshotReader) text() []byte {
	n := in.number(uint64(len(in.rest)))
	if n > uint64(len(in.rest)) {
		in.check(errCutOff)
	}
	if in.err != nil {
		return nil
	}
	text := in.rest[:n]
	in.rest = in.rest[n:]
	return text
}

// nameAfter reads the name of an element, which must come after that of the one before: so none is there twice.
func (in *snapshotReader) nameAfter(before string) string {
	name := string(in.text())
	if name <= before {
		in.check(errOrder)
	}
	return name
}

// next reports whether there is another element of a list, and reads how many there are before the first.
func (in *snapshotReader) next() bool {
	if !in.list {
		in.left, in.list = in.number(uint64(len(in.rest))), true // each element has a byte at least
	}
	if in.left == 0 || in.err != nil {
		in.list = false
		return false
	}
	in.left--
	return true
}

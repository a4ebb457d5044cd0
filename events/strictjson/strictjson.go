// Package strictjson reads JSON objects from people who may be hostile.
//
// It is the one JSON reader for everything that decides about trust: records in a bucket, and the header and
// claims of a token. The encoding/json package is made for other needs: it takes the last of two members
// with one name, matches names without regard to case, and repairs invalid UTF-8, so that two readers of
// one document can see two different documents. Here a document is refused unless it is exactly one value that
//
//   - is well-formed by RFC 8259, in valid UTF-8, with no unpaired surrogate escapes;
//   - has no two members of one name in any object (RFC 8725 §2.4, RFC 7515 §4), compared after unescaping;
//   - nests no deeper than [MaxDepth] and has no more than [MaxMembers] members in an object, nor more than 128 in
//     all the objects that are open at one place;
//   - is no longer than [MaxSize].
//
// Reading an object does not allocate, unless its member names have escape sequences:
//
//	var obj strictjson.Object
//	if err := obj.Parse(data); err != nil { … }
//	for i := range obj.Len() {
//		switch string(obj.Name(i)) {
//		case "iss":
//			iss, err = strictjson.String(obj.Value(i))
//		}
//	}
//
// Errors say what is wrong and at which byte; they never quote the document.
package strictjson

import "fmt"

// Limits of a document. They bound the work that a hostile document can cause.
const (
	MaxSize    = 1<<16 - 1 // bytes: offsets are kept in 16 bits
	MaxDepth   = 8         // nested arrays and objects, the outermost counts as 1
	MaxMembers = 64        // members of one object
	maxNames   = 128       // names that are open at one time, over all depths
)

// SyntaxError is why a document was refused.
type SyntaxError struct {
	Offset int    // byte at which it was noticed
	Reason string // lower case, never with a part of the document
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("json: %s at byte %d", e.Reason, e.Offset)
}

// span is a part of the document. A name's span has no quotes.
type span struct{ from, to uint16 }

// Object is a parsed JSON object: its members in the order of the document. The zero value is empty. It refers
// to the bytes that were parsed, which must not change while it is used.
type Object struct {
	data    []byte
	n       int
	names   [MaxMembers]span
	values  [MaxMembers]span
	escaped uint64 // bit i: name i has an escape sequence
}

// Parse reads data, which must be one JSON object and nothing else (but white space around it). After an error
// the object is empty.
func (o *Object) Parse(data []byte) error {
	o.data, o.n, o.escaped = data, 0, 0
	p := parser{data: data}
	if !p.begin() {
		return p.err()
	}
	if p.peek() != '{' {
		p.fail("not an object")
		return p.err()
	}
	if !p.object(o, 1) || !p.end() {
		o.n = 0
		return p.err()
	}
	return nil
}

// add notes a member. The parser sees to it that there is room.
func (o *Object) add(name memberName, value span) {
	o.names[o.n] = name.span
	o.values[o.n] = value
	if name.escaped {
		o.escaped |= 1 << o.n
	}
	o.n++
}

var _ [64 - MaxMembers]struct{} // Object.escaped has one bit for each member

// Len is the number of members.
func (o *Object) Len() int { return o.n }

// Name returns the name of member i, unescaped. It allocates only if the name has an escape sequence.
func (o *Object) Name(i int) []byte {
	raw := o.data[o.names[i].from:o.names[i].to]
	if o.hasEscape(i) {
		return unescape(raw)
	}
	return raw
}

func (o *Object) hasEscape(i int) bool { return o.escaped&(1<<i) != 0 }

// Value returns the JSON text of the value of member i.
func (o *Object) Value(i int) []byte {
	return o.data[o.values[i].from:o.values[i].to]
}

// Get returns the value of the named member, or nil if there is none. It does not allocate.
func (o *Object) Get(name string) []byte {
	for i := range o.n {
		raw := o.data[o.names[i].from:o.names[i].to]
		if o.hasEscape(i) && standsFor(raw, name) || !o.hasEscape(i) && string(raw) == name {
			return o.Value(i)
		}
	}
	return nil
}

// Check reports whether data is exactly one JSON value of any kind within the limits.
func Check(data []byte) error {
	p := parser{data: data}
	if !p.begin() || !p.value(1) || !p.end() {
		return p.err()
	}
	return nil
}

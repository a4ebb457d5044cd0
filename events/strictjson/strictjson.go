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
//     all the objects that are open at one place, nor more than [MaxValues] members and elements in all;
//   - has no number of more than 308 digits before the point, with its exponent added to them: every number is finite
//     to a reader that keeps it in 64 bits (RFC 8259 §6);
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

// Limits of a document. They bound the work that a hostile document can cause.
const (
	MaxSize    = 1<<16 - 1 // bytes: offsets are kept in 16 bits
	MaxDepth   = 8         // nested arrays and objects, the outermost counts as 1
	MaxMembers = 64        // members of one object
	MaxValues  = 1024      // members of all objects and elements of all arrays: much more than text, they cost time
	maxNames   = 128       // names that are open at one time, over all depths
)

// Check reports whether data is exactly one JSON value of any kind within the limits.
func Check(data []byte) error {
	p := parser{data: data}
	pos := p.begin()
	if pos < 0 || !p.end(p.value(pos, 1)) {
		return p.err()
	}
	return nil
}

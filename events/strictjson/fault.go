package strictjson

import "fmt"

// SyntaxError is why a document was refused.
type SyntaxError struct {
	Offset int    // byte at which it was noticed
	Reason string // lower case, never with a part of the document
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("json: %s at byte %d", e.Reason, e.Offset)
}

// fault is a reason as a number: a parser that held a string would, to the compiler, let the document escape to the heap.
type fault uint8

const (
	tooLong fault = iota
	notUTF8
	dataAfterEnd
	endsEarly
	unexpected
	tooDeep
	wantName
	wantColon
	wantObjectEnd
	tooMany
	tooManyValues
	duplicate
	wantArrayEnd
	rawControl
	unknownEscape
	badEscape
	unpaired
	badNumber
	notObject
)

var reasons = [...]string{
	tooLong:       "document too long",
	notUTF8:       "invalid UTF-8",
	dataAfterEnd:  "data after the end",
	endsEarly:     "unexpected end",
	unexpected:    "unexpected character",
	tooDeep:       "nested too deeply",
	wantName:      "expected a member name",
	wantColon:     "expected a colon",
	wantObjectEnd: "expected a comma or the object's end",
	tooMany:       "too many members",
	tooManyValues: "too many values",
	duplicate:     "duplicate member name",
	wantArrayEnd:  "expected a comma or the array's end",
	rawControl:    "control character in a string",
	unknownEscape: "unknown escape sequence",
	badEscape:     "invalid escape sequence",
	unpaired:      "unpaired surrogate",
	badNumber:     "invalid number",
	notObject:     "not an object",
}

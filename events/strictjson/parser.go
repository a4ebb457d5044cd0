package strictjson

import (
	"bytes"
	"unicode/utf8"
)

// parser walks over one document. Its methods return false after noting what is wrong.
type parser struct {
	data  []byte
	pos   int
	fault fault
	open  int // names in use in the stack below
	names [maxNames]memberName
}

func (p *parser) fail(f fault) bool {
	p.fault = f
	return false
}

// begin checks what concerns the document as a whole and goes to its first character.
func (p *parser) begin() bool {
	if len(p.data) > MaxSize {
		p.pos = MaxSize
		return p.fail(tooLong)
	}
	// All at once, because that is several times as fast as rune by rune while reading.
	if !utf8.Valid(p.data) {
		p.pos = invalidUTF8(p.data)
		return p.fail(notUTF8)
	}
	p.space()
	return true
}

// end checks that nothing follows the document's one value.
func (p *parser) end() bool {
	p.space()
	if p.pos != len(p.data) {
		return p.fail(dataAfterEnd)
	}
	return true
}

// err is the error for what was noted last.
func (p *parser) err() error {
	return &SyntaxError{Offset: p.pos, Reason: reasons[p.fault]}
}

func (p *parser) space() {
	if p.pos < len(p.data) && p.data[p.pos] <= ' ' { // rare in what machines write
		p.skipSpace()
	}
}

func (p *parser) skipSpace() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// value reads a value; depth is its own if it is an array or an object.
func (p *parser) value(depth int) bool {
	if p.pos >= len(p.data) {
		return p.fail(endsEarly)
	}
	switch p.data[p.pos] {
	case '"':
		_, _, ok := p.str()
		return ok
	case '{':
		return p.object(nil, depth)
	case '[':
		return p.array(depth)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return p.number()
	case 't':
		return p.literal("true")
	case 'f':
		return p.literal("false")
	case 'n':
		return p.literal("null")
	}
	return p.fail(unexpected)
}

func (p *parser) literal(want string) bool {
	if !bytes.HasPrefix(p.data[p.pos:], []byte(want)) {
		return p.fail(unexpected)
	}
	p.pos += len(want)
	return true
}

// object reads an object; with into, its members are noted there.
func (p *parser) object(into *Index, depth int) bool {
	if depth > MaxDepth {
		return p.fail(tooDeep)
	}
	base := p.open
	p.pos++ // {
	p.space()
	if p.peek() == '}' {
		p.pos++
		return true
	}
	for {
		p.space()
		if p.peek() != '"' {
			return p.fail(wantName)
		}
		if !p.name(base) {
			return false
		}
		p.space()
		if p.peek() != ':' {
			return p.fail(wantColon)
		}
		p.pos++
		p.space()
		from := p.pos
		if !p.value(depth + 1) {
			return false
		}
		if into != nil {
			into.add(p.names[p.open-1], span{uint16(from), uint16(p.pos)})
		}
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			p.open = base
			return true
		default:
			return p.fail(wantObjectEnd)
		}
	}
}

// name reads a name and pushes it, unless the object whose names start at base has it already.
func (p *parser) name(base int) bool {
	if p.open-base == MaxMembers || p.open == maxNames {
		return p.fail(tooMany)
	}
	at := p.pos
	s, escaped, ok := p.str()
	if !ok {
		return false
	}
	name := newMemberName(p.data, s, escaped)
	for _, other := range p.names[base:p.open] {
		if name.hash == other.hash && name.same(other, p.data) {
			p.pos = at
			return p.fail(duplicate)
		}
	}
	p.names[p.open] = name
	p.open++
	return true
}

func (p *parser) array(depth int) bool {
	if depth > MaxDepth {
		return p.fail(tooDeep)
	}
	p.pos++ // [
	p.space()
	if p.peek() == ']' {
		p.pos++
		return true
	}
	for {
		p.space()
		if !p.value(depth + 1) {
			return false
		}
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return true
		default:
			return p.fail(wantArrayEnd)
		}
	}
}

// peek returns the next byte, or 0 at the end; a zero byte in the document is never expected anywhere.
func (p *parser) peek() byte {
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

// str reads a string and returns the span between its quotes.
func (p *parser) str() (s span, escaped, ok bool) {
	p.pos++ // "
	from := p.pos
	for p.pos < len(p.data) {
		p.pos += plainLen(p.data[p.pos:])
		switch p.peek() {
		case '"':
			s = span{uint16(from), uint16(p.pos)}
			p.pos++
			return s, escaped, true
		case '\\':
			escaped = true
			if !p.escape() {
				return span{}, false, false
			}
		default:
			if p.pos < len(p.data) {
				return span{}, false, p.fail(rawControl)
			}
		}
	}
	return span{}, false, p.fail(endsEarly)
}

// special are the bytes of a string that do not stand for themselves: quote, backslash and control characters.
var special = func() (is [256]bool) {
	for c := range 0x20 {
		is[c] = true
	}
	is['"'], is['\\'] = true, true
	return is
}()

// plainLen is how many bytes b starts with that are not special.
func plainLen(b []byte) int {
	for i, c := range b {
		if special[c] {
			return i
		}
	}
	return len(b)
}

// escape reads one escape sequence, both halves of a surrogate pair at once.
func (p *parser) escape() bool {
	if p.pos+1 >= len(p.data) {
		return p.fail(endsEarly)
	}
	switch p.data[p.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.pos += 2
		return true
	case 'u':
	default:
		return p.fail(unknownEscape)
	}
	r := hex4(p.data[p.pos:])
	switch {
	case r < 0:
		return p.fail(badEscape)
	case 0xDC00 <= r && r < 0xE000:
		return p.fail(unpaired)
	case 0xD800 <= r && r < 0xDC00:
		low := hex4(p.data[p.pos+6:])
		if low < 0xDC00 || low >= 0xE000 {
			return p.fail(unpaired)
		}
		p.pos += 6
	}
	p.pos += 6
	return true
}

// number reads a number by the grammar of RFC 8259 §6.
func (p *parser) number() bool {
	rest := p.data[p.pos:]
	if rest[0] == '-' {
		rest = rest[1:]
	}
	n := digits(rest)
	ok := n == 1 || n > 1 && rest[0] != '0'
	rest = rest[n:]
	if len(rest) > 0 && rest[0] == '.' {
		n = digits(rest[1:])
		ok = ok && n > 0
		rest = rest[1+n:]
	}
	if len(rest) > 0 && rest[0]|0x20 == 'e' {
		rest = rest[1:]
		if len(rest) > 0 && (rest[0] == '+' || rest[0] == '-') {
			rest = rest[1:]
		}
		n = digits(rest)
		ok = ok && n > 0
		rest = rest[n:]
	}
	if !ok {
		return p.fail(badNumber)
	}
	p.pos = len(p.data) - len(rest)
	return true
}

// digits is how many digits b starts with.
func digits(b []byte) int {
	for i, c := range b {
		if c < '0' || '9' < c {
			return i
		}
	}
	return len(b)
}

// invalidUTF8 is where the first byte is that is not UTF-8.
func invalidUTF8(data []byte) int {
	at := 0
	for at < len(data) {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		at += size
	}
	return at
}

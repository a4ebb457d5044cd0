package strictjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// parser walks over one document. Its methods take the position of the first byte that they read, and return the one behind
// what they have read, or -1 after noting what is wrong: a position that is handed on stays in a register, which makes
// twice the speed of one that is kept here.
type parser struct {
	data  []byte
	pos   int // where it was noticed, if something is wrong
	fault fault
	open  int // names in use in the stack below
	count int // members and elements so far
	names [maxNames]memberName
}

func (p *parser) fail(f fault, pos int) int {
	p.fault, p.pos = f, pos
	return -1
}

// begin checks what concerns the document as a whole and goes to its first character.
func (p *parser) begin() int {
	if len(p.data) > MaxSize {
		return p.fail(tooLong, MaxSize)
	}
	// All at once, because that is several times as fast as rune by rune while reading.
	if !utf8.Valid(p.data) {
		return p.fail(notUTF8, invalidUTF8(p.data))
	}
	return p.space(0)
}

// end checks that nothing follows the document's one value, which ends at pos; -1 is one that is wrong already.
func (p *parser) end(pos int) bool {
	if pos < 0 {
		return false
	}
	if pos = p.space(pos); pos != len(p.data) {
		p.fail(dataAfterEnd, pos)
		return false
	}
	return true
}

// err is the error for what was noted last.
func (p *parser) err() error {
	return &SyntaxError{Offset: p.pos, Reason: reasons[p.fault]}
}

func (p *parser) space(pos int) int {
	if pos < len(p.data) && p.data[pos] <= ' ' { // rare in what machines write
		return p.skipSpace(pos)
	}
	return pos
}

func (p *parser) skipSpace(pos int) int {
	for ; pos < len(p.data); pos++ {
		switch p.data[pos] {
		case ' ', '\t', '\n', '\r':
		default:
			return pos
		}
	}
	return pos
}

// peek returns the byte at pos, or 0 at the end; a zero byte in the document is never expected anywhere.
func (p *parser) peek(pos int) byte {
	if pos < len(p.data) {
		return p.data[pos]
	}
	return 0
}

// value reads a value; depth is its own if it is an array or an object.
func (p *parser) value(pos, depth int) int {
	if pos >= len(p.data) {
		return p.fail(endsEarly, pos)
	}
	switch p.data[pos] {
	case '"':
		_, end := p.str(pos)
		return end
	case '{':
		return p.object(nil, pos, depth)
	case '[':
		return p.array(pos, depth)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return p.number(pos)
	case 't':
		return p.literal("true", pos)
	case 'f':
		return p.literal("false", pos)
	case 'n':
		return p.literal("null", pos)
	}
	return p.fail(unexpected, pos)
}

func (p *parser) literal(want string, pos int) int {
	if len(p.data)-pos < len(want) || string(p.data[pos:pos+len(want)]) != want {
		return p.fail(unexpected, pos)
	}
	return pos + len(want)
}

func (p *parser) array(pos, depth int) int {
	if depth > MaxDepth {
		return p.fail(tooDeep, pos)
	}
	pos = p.space(pos + 1)
	if p.peek(pos) == ']' {
		return pos + 1
	}
	for {
		if p.count++; p.count > MaxValues {
			return p.fail(tooManyValues, pos)
		}
		end := p.value(pos, depth+1)
		if end < 0 {
			return end
		}
		end = p.space(end)
		switch p.peek(end) {
		case ',':
			pos = p.space(end + 1)
		case ']':
			return end + 1
		default:
			return p.fail(wantArrayEnd, end)
		}
	}
}

// object reads an object; with into, its members are noted there.
func (p *parser) object(into *Index, pos, depth int) int {
	if depth > MaxDepth {
		return p.fail(tooDeep, pos)
	}
	pos = p.space(pos + 1)
	if p.peek(pos) == '}' {
		return pos + 1
	}
	base := p.open
	var seen filter
	for {
		if p.peek(pos) != '"' {
			return p.fail(wantName, pos)
		}
		if pos = p.name(pos, base, &seen); pos < 0 {
			return pos
		}
		pos = p.space(pos)
		if p.peek(pos) != ':' {
			return p.fail(wantColon, pos)
		}
		pos = p.space(pos + 1)
		end := p.value(pos, depth+1)
		if end < 0 {
			return end
		}
		if into != nil {
			into.add(p.names[p.open-1], span{uint16(pos), uint16(end)})
		}
		end = p.space(end)
		switch p.peek(end) {
		case ',':
			pos = p.space(end + 1)
		case '}':
			p.open = base
			return end + 1
		default:
			return p.fail(wantObjectEnd, end)
		}
	}
}

// name reads a name and pushes it, unless the object whose names start at base has it already.
func (p *parser) name(pos, base int, seen *filter) int {
	if p.open-base == MaxMembers || p.open == maxNames {
		return p.fail(tooMany, pos)
	}
	if p.count++; p.count > MaxValues {
		return p.fail(tooManyValues, pos)
	}
	name, end := shortName(p.data, pos+1)
	if end < 0 {
		var escaped bool
		if escaped, end = p.str(pos); end < 0 {
			return end
		}
		name = newMemberName(p.data, span{uint16(pos + 1), uint16(end - 1)}, escaped)
	}
	if seen.add(name.hash) {
		for i := base; i < p.open; i++ {
			if name.hash == p.names[i].hash && name.same(p.names[i], p.data) {
				return p.fail(duplicate, pos)
			}
		}
	}
	p.names[p.open] = name
	p.open++
	return end
}

// str reads a string, and reports whether it has escape sequences.
func (p *parser) str(pos int) (escaped bool, end int) {
	pos++ // "
	for {
		c := p.peek(pos)
		if c != '"' && c != '\\' {
			pos = skipPlain(p.data, pos)
			c = p.peek(pos)
		}
		switch c {
		case '"':
			return escaped, pos + 1
		case '\\':
			escaped = true
			if pos = p.escape(pos); pos < 0 {
				return false, pos
			}
		default:
			if pos < len(p.data) {
				return false, p.fail(rawControl, pos)
			}
			return false, p.fail(endsEarly, pos)
		}
	}
}

// skipPlain returns where the next byte is that does not stand for itself, or the end.
func skipPlain(data []byte, pos int) int {
	for ; pos+8 <= len(data); pos += 8 {
		if n := plainBytes(binary.LittleEndian.Uint64(data[pos:])); n < 8 {
			return pos + n
		}
	}
	for ; pos < len(data); pos++ {
		if c := data[pos]; c < ' ' || c == '"' || c == '\\' {
			break
		}
	}
	return pos
}

// plainBytes is how many of the 8 bytes of x, the lowest first, come before one that does not stand for itself in a string: a
// quote, a backslash or a control character. In (x - 0x01…) &^ x & 0x80… the lowest bit that is set is that of the first
// byte that is zero; with 0x20… for 0x01…, of the first that is less than 0x20.
func plainBytes(x uint64) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash := x^'"'*ones, x^'\\'*ones
	found := ((x-' '*ones)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash) & highs
	return bits.TrailingZeros64(found) / 8
}

// escape reads one escape sequence, both halves of a surrogate pair at once.
func (p *parser) escape(pos int) int {
	if pos+1 >= len(p.data) {
		return p.fail(endsEarly, pos)
	}
	switch p.data[pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return pos + 2
	case 'u':
	default:
		return p.fail(unknownEscape, pos)
	}
	r := hex4(p.data[pos:])
	switch {
	case r < 0:
		return p.fail(badEscape, pos)
	case 0xDC00 <= r && r < 0xE000:
		return p.fail(unpaired, pos)
	case 0xD800 <= r && r < 0xDC00:
		low := hex4(p.data[pos+6:])
		if low < 0xDC00 || low >= 0xE000 {
			return p.fail(unpaired, pos)
		}
		return pos + 12
	}
	return pos + 6
}

// number reads a number by the grammar of RFC 8259 §6.
func (p *parser) number(pos int) int {
	data, from := p.data, pos
	if data[pos] == '-' {
		pos++
	}
	digits := pos
	for pos < len(data) && data[pos]-'0' <= 9 {
		pos++
	}
	if n := pos - digits; n == 0 || n > 1 && data[digits] == '0' || n > maxMagnitude {
		return p.fail(badNumber, from)
	}
	if pos < len(data) && (data[pos] == '.' || data[pos]|0x20 == 'e') {
		return p.fraction(from, pos, pos-digits)
	}
	return pos
}

// maxMagnitude is the most digits that a number may have before its point, once it is written without an exponent. Every
// number of so many digits is finite as a 64-bit float; 1e309 is not.
const maxMagnitude = 308

// fraction reads what follows the integer part of a number.
func (p *parser) fraction(from, pos, magnitude int) int {
	if p.data[pos] == '.' {
		pos++
		digits := pos
		for pos < len(p.data) && p.data[pos]-'0' <= 9 {
			pos++
		}
		if pos == digits {
			return p.fail(badNumber, from)
		}
	}
	if p.peek(pos)|0x20 != 'e' {
		return pos
	}
	pos++
	sign := p.peek(pos)
	if sign == '+' || sign == '-' {
		pos++
	}
	digits, exponent := pos, 0
	for pos < len(p.data) && p.data[pos]-'0' <= 9 {
		exponent = min(10*exponent+int(p.data[pos]-'0'), maxMagnitude+1)
		pos++
	}
	if pos == digits || sign != '-' && magnitude+exponent > maxMagnitude {
		return p.fail(badNumber, from)
	}
	return pos
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

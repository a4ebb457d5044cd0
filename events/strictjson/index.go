package strictjson

// Index is where the members of an object are, without the object: each method wants the document that was parsed. As it
// holds no reference, a document that is on the stack stays there. Use [Object] unless this matters.
type Index struct {
	n       int
	escaped uint64 // bit i: name i has an escape sequence
	names   [MaxMembers]span
	values  [MaxMembers]span
}

// span is a part of the document. A name's span has no quotes.
type span struct{ from, to uint16 }

func (s span) of(data []byte) []byte { return data[s.from:s.to] }

var _ [64 - MaxMembers]struct{} // Index.escaped has one bit for each member

// Parse reads data like [Object.Parse].
func (x *Index) Parse(data []byte) error {
	x.n, x.escaped = 0, 0
	p := parser{data: data}
	pos := p.begin()
	if pos < 0 {
		return p.err()
	}
	if p.peek(pos) != '{' {
		p.fail(notObject, pos)
		return p.err()
	}
	if !p.end(p.object(x, pos, 1)) {
		x.n, x.escaped = 0, 0
		return p.err()
	}
	return nil
}

// add notes a member. The parser sees to it that there is room.
func (x *Index) add(name memberName, value span) {
	x.names[x.n] = name.span
	x.values[x.n] = value
	if name.escaped {
		x.escaped |= 1 << x.n
	}
	x.n++
}

// Len is the number of members.
func (x *Index) Len() int { return x.n }

// Name returns the name of member i, unescaped. It allocates only if the name has an escape sequence.
func (x *Index) Name(data []byte, i int) []byte {
	raw := x.names[i].of(data)
	if x.hasEscape(i) {
		return unescape(raw)
	}
	return raw
}

// Value returns the JSON text of the value of member i.
func (x *Index) Value(data []byte, i int) []byte { return x.values[i].of(data) }

func (x *Index) hasEscape(i int) bool { return x.escaped&(1<<i) != 0 }

func (x *Index) named(data []byte, i int, name string) bool {
	raw := x.names[i].of(data)
	if x.hasEscape(i) {
		return standsFor(raw, name)
	}
	return string(raw) == name
}

package strictjson

// Object is a parsed JSON object: its members in the order of the document. The zero value is empty. It refers
// to the bytes that were parsed, which must not change while it is used.
type Object struct {
	data  []byte
	index Index
}

// Parse reads data, which must be one JSON object and nothing else (but white space around it). After an error
// the object is empty.
func (o *Object) Parse(data []byte) error {
	o.data = data
	return o.index.Parse(data)
}

// Len is the number of members.
func (o *Object) Len() int { return o.index.Len() }

// Name returns the name of member i, unescaped. It allocates only if the name has an escape sequence.
func (o *Object) Name(i int) []byte { return o.index.Name(o.data, i) }

// Value returns the JSON text of the value of member i.
func (o *Object) Value(i int) []byte { return o.index.Value(o.data, i) }

// Get returns the value of the named member, or nil if there is none. It does not allocate.
func (o *Object) Get(name string) []byte {
	for i := range o.Len() {
		if o.index.named(o.data, i, name) {
			return o.Value(i)
		}
	}
	return nil
}

package jws

// Token is a token that was read but not verified: nobody vouches yet for anything that it says.
type Token struct {
	Header Header
	Claims Claims

	// data is the signing input, then the decoded payload, then the decoded signature.
	data                              []byte
	headerEnd, payloadAt, signatureAt int

	audience [2]string // room for Claims.Audience, as most tokens need it
}

// Parse reads a token. It accepts one form only; see the package's documentation. The error is an [*Error]. The token's
// key and its issuer are as the token claims: look the key up by both, compare algorithms, then call [Verify].
func Parse(token string) (*Token, error) {
	var text texts
	t, err := parseCompact(token, &text)
	if err != nil {
		return nil, err
	}
	if err := t.readClaims(&text); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Token) readClaims(text *texts) error {
	if t.Header.KeyID == "" {
		return refuse(ReasonKeyID, "header has no kid")
	}
	return t.Claims.read(t.Payload(), text, t.audience[:])
}

// parseCompact reads what RFC 7515 defines: the form, the header and the bytes of payload and signature.
func parseCompact(token string, text *texts) (*Token, error) {
	c, err := cut(token)
	if err != nil {
		return nil, err
	}
	h, err := decodeHeader(c.header, text, decodedLen(c.payload))
	if err != nil {
		return nil, err
	}
	t := &Token{Header: h}
	if err := t.decode(token, c); err != nil {
		return nil, err
	}
	return t, nil
}

// decodeHeader reads a header as it stands in the token. The texts to come after it have more bytes.
func decodeHeader(segment string, text *texts, more int) (Header, error) {
	// A header is decoded on the stack: what is allocated is allocated only for tokens with a good one.
	var room [MaxHeader]byte
	header, err := decode(room[:0], segment)
	if err != nil {
		return Header{}, err
	}
	text.room = min(len(header)+more, usualTexts)
	return readHeader(header, text)
}

// decode fills the buffer of t, whose header was read.
func (t *Token) decode(token string, c compact) error {
	t.headerEnd = len(c.header)
	t.payloadAt = t.headerEnd + 1 + len(c.payload)
	data := t.data[:0]
	if size := t.payloadAt + decodedLen(c.payload) + decodedLen(c.signature); cap(data) < size {
		data = make([]byte, 0, size)
		t.data = data // also if what follows is refused: a reader has the room for the next token then
	}
	data = append(data, token[:t.payloadAt]...)
	data, err := decode(data, c.payload)
	if err != nil {
		return err
	}
	t.signatureAt = len(data)
	if data, err = decode(data, c.signature); err != nil {
		return err
	}
	t.data = data
	return nil
}

// The methods below return parts of one buffer, which must not be changed. Their capacity ends with them, so that to append
// to one does not write over the next.

// SigningInput is what the signature is over: header and payload as they stand in the token.
func (t *Token) SigningInput() []byte { return t.data[:t.payloadAt:t.payloadAt] }

// Payload is the decoded claims: a JSON object.
func (t *Token) Payload() []byte { return t.data[t.payloadAt:t.signatureAt:t.signatureAt] }

// Signature is the decoded signature.
func (t *Token) Signature() []byte { return t.data[t.signatureAt:len(t.data):len(t.data)] }

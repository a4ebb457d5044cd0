// Package ownfile is for JSON files that only keyherald writes, and in which to overlook something is to let somebody in.
package ownfile

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Check refuses a text that is, but for white space, another than package json writes of v, which was read from it. Somebody else might
// read it otherwise: of two members of a name, as of a name in another case, package json takes the last, and [json.Decoder] leaves unread what
// follows. Package strictjson, which refuses all that by itself, is for small texts of others.
func Check(text []byte, v any) error {
	want, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var have bytes.Buffer
	if err := json.Compact(&have, text); err != nil {
		return err
	}
	if !bytes.Equal(have.Bytes(), want) {
		return errors.New("it has other members, or in another order, than keyherald writes")
	}
	return nil
}

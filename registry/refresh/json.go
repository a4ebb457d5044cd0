package refresh

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/keyherald/keyherald/events/strictjson"
)

var errNoObject = errors.New("not a JSON object")

// eachMember calls visit for the members of a document that is one JSON object, each of which visit must decode. A document may be
// larger than what package strictjson reads, which is for the parts that decide something; here it is made sure that there are no two
// members of one name.
func eachMember(data []byte, visit func(name string, dec *json.Decoder) error) error {
	if !utf8.Valid(data) || !json.Valid(data) {
		return errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return errNoObject
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok || seen[name] {
			return errors.New("two members of one name")
		}
		seen[name] = true
		if err := visit(name, dec); err != nil {
			return err
		}
	}
	return nil
}

// skip decodes a value that nobody wants.
func skip(dec *json.Decoder) error {
	var raw json.RawMessage
	return dec.Decode(&raw)
}

// text decodes a value that must be a string.
func text(dec *json.Decoder) (string, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return "", err
	}
	if err := strictjson.Check(raw); err != nil {
		return "", err
	}
	return strictjson.String(raw)
}

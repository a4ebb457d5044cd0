package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/keyherald/keyherald/events/strictjson"
)

// readBody reads a JSON object and calls member for each of its members that is not null: SDKs write null for what is not set. No body
// counts as an object of no members. member ignores names that it does not know.
func (r *request) readBody(member func(name string, value []byte) error) error {
	body, err := io.ReadAll(http.MaxBytesReader(r.writer, r.http.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return newProblem(http.StatusRequestEntityTooLarge, "too-large", "The body is too large", fmt.Sprintf("it is longer than %d bytes", maxBody))
	}
	if err != nil {
		return invalidRequest("the body could not be read")
	}
	if len(body) == 0 {
		return nil
	}
	types := r.http.Header.Values("Content-Type")
	mediaType, _, err := mime.ParseMediaType(r.http.Header.Get("Content-Type"))
	if len(types) != 1 || err != nil || mediaType != "application/json" || r.http.Header.Get("Content-Encoding") != "" {
		return newProblem(http.StatusUnsupportedMediaType, "media-type", "The body is not of a type that is understood", "send one Content-Type: application/json, and no Content-Encoding")
	}
	return readMembers(body, member)
}

func readMembers(body []byte, member func(name string, value []byte) error) error {
	var obj strictjson.Object
	if err := obj.Parse(body); err != nil {
		return invalidRequest("body: " + err.Error())
	}
	for i := range obj.Len() {
		name, value := string(obj.Name(i)), bytes.TrimSpace(obj.Value(i))
		if string(value) == "null" {
			continue
		}
		if err := member(name, value); err != nil {
			return invalidRequest(fmt.Sprintf("member %s: %v", name, err)) // one that is known: others have no error
		}
	}
	return nil
}

package jws

import "strings"

// compact is a token cut at its dots: three segments of the right alphabet, none empty.
type compact struct {
	header, payload, signature string
}

// cut takes a token apart. Whatever the token is, it does so without allocating, and without decoding any of it.
func cut(token string) (compact, error) {
	if len(token) > MaxToken {
		return compact{}, refuse(ReasonSize, "is longer than 8192 bytes")
	}
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") {
		return compact{}, refuse(ReasonForm, wrongCount(token))
	}
	if decodedLen(header) > MaxHeader {
		return compact{}, refuse(ReasonSize, "header is longer than 1024 bytes")
	}
	if decodedLen(signature) > MaxSignature {
		return compact{}, refuse(ReasonSize, "signature is longer than 1024 bytes")
	}
	for _, segment := range [...]string{header, payload, signature} {
		if segment == "" {
			return compact{}, refuse(ReasonForm, "has an empty segment")
		}
		if !inAlphabet(segment) {
			return compact{}, refuse(ReasonForm, "has a character that is not of base64url")
		}
	}
	return compact{header, payload, signature}, nil
}

// wrongCount tells the likely mistakes apart.
func wrongCount(token string) string {
	switch dots := strings.Count(token, "."); {
	case token == "":
		return "is empty"
	case token[0] == '{':
		return "is in JSON serialization: only the compact one is accepted"
	case dots == 4:
		return "is encrypted (five segments): only signed ones are accepted"
	}
	return "does not have three segments"
}

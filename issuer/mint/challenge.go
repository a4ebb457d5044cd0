package mint

import (
	"net/http"
	"strings"
)

// isInvalidToken reports whether the WWW-Authenticate headers of an answer have a Bearer challenge with the error invalid_token
// (RFC 6750 §3.1).
func isInvalidToken(header http.Header) bool {
	for _, text := range header.Values("WWW-Authenticate") {
		if hasInvalidToken(text) {
			return true
		}
	}
	return false
}

// hasInvalidToken reads a list of challenges (RFC 9110 §11.6.1). Its elements are parameters, the first of a challenge having the scheme
// before it. What some schemes have in place of parameters is taken for one with another name, or without a value.
func hasInvalidToken(list string) bool {
	bearer := false
	for list != "" {
		var element string
		element, list = cutElement(list)
		name, rest := cutToken(element)
		if !strings.HasPrefix(rest, "=") {
			bearer = strings.EqualFold(name, "Bearer")
			name, rest = cutToken(rest)
		}
		if value, ok := strings.CutPrefix(rest, "="); ok && bearer && strings.EqualFold(name, "error") && unquote(value) == "invalid_token" {
			return true
		}
	}
	return false
}

// cutElement cuts the first element off a list, at the first comma that is not in a quoted string.
func cutElement(list string) (element, rest string) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), ""
}

// cutToken cuts a token off a text, and the space after it.
func cutToken(text string) (token, rest string) {
	end := strings.IndexAny(text, " \t=\"")
	if end < 0 {
		return text, ""
	}
	return text[:end], trim(text[end:])
}

// unquote returns the text of a token or of a quoted string that has no escapes: the one that is looked for needs none.
func unquote(value string) string {
	value = trim(value)
	if text, ok := strings.CutPrefix(value, `"`); ok {
		if text, ok = strings.CutSuffix(text, `"`); ok {
			return text
		}
	}
	return value
}

func trim(s string) string { return strings.Trim(s, " \t") }

package strictjson

import (
	"errors"
	"fmt"
)

// MaxInt is the largest integer that every JSON reader agrees on: 2^53 - 1 (RFC 7493 §2.2).
const MaxInt = 1<<53 - 1

// The errors of the functions below are about a value that Parse has accepted but that has another type than
// the reader needs.
var (
	errNotString  = errors.New("not a string")
	errNotInteger = errors.New("not an integer")
	errRange      = errors.New("integer out of range")
	errNotArray   = errors.New("not an array")
	errNotBool    = errors.New("not true or false")
)

// String returns the string that value, a JSON text from [Object.Value], stands for.
func String(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", errNotString
	}
	raw := value[1 : len(value)-1]
	if hasEscape(raw) {
		return string(unescape(raw)), nil
	}
	return string(raw), nil
}

// Is reports whether value is the JSON string s, however it is spelled, without allocating.
func Is(value []byte, s string) bool {
	if len(value) < 2 || value[0] != '"' {
		return false
	}
	raw := value[1 : len(value)-1]
	if hasEscape(raw) {
		return standsFor(raw, s)
	}
	return string(raw) == s
}

// Int returns the integer that value stands for. Only the plain form is an integer here: an optional minus sign and
// digits; 1.0 and 1e3 are refused, and so is what exceeds [MaxInt] either way.
func Int(value []byte) (int64, error) {
	digits, negative := value, false
	if len(digits) > 0 && digits[0] == '-' {
		digits, negative = digits[1:], true
	}
	if len(digits) == 0 {
		return 0, errNotInteger
	}
	var n int64
	for _, c := range digits {
		if c < '0' || '9' < c {
			return 0, errNotInteger
		}
		if n > MaxInt/10 {
			return 0, errRange
		}
		n = n*10 + int64(c-'0')
	}
	if n > MaxInt {
		return 0, errRange
	}
	if negative {
		n = -n
	}
	return n, nil
}

// Bool returns the truth value that value stands for.
func Bool(value []byte) (bool, error) {
	switch string(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errNotBool
}

// Strings returns the array of at most limit strings that value stands for.
func Strings(value []byte, limit int) ([]string, error) {
	var out []string
	err := Elements(value, limit, func(element []byte) error {
		s, err := String(element)
		out = append(out, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Elements calls f with each element of the array that value stands for, and refuses more than limit of them.
func Elements(value []byte, limit int, f func(element []byte) error) error {
	if len(value) < 2 || value[0] != '[' {
		return errNotArray
	}
	p := parser{data: value}
	pos := p.space(1)
	for n := 0; p.peek(pos) != ']'; n++ {
		if n == limit {
			return fmt.Errorf("more than %d elements", limit)
		}
		end := p.value(pos, 1)
		if end < 0 {
			return p.err()
		}
		if err := f(value[pos:end]); err != nil {
			return err
		}
		if pos = p.space(end); p.peek(pos) == ',' {
			pos = p.space(pos + 1)
		}
	}
	return nil
}

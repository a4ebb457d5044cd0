package jws

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// Everything of up to four characters, and longer texts by their ends, against the strict decoder of encoding/base64.
func TestBase64urlIsTheStrictOneOfTheStandardLibrary(t *testing.T) {
	strict := base64.RawURLEncoding.Strict()
	compare := func(s string) {
		t.Helper()
		if !inAlphabet(s) {
			t.Fatalf("%q is of the alphabet", s)
		}
		want, wantErr := strict.DecodeString(s)
		got, err := decode(make([]byte, 0, decodedLen(s)), s)
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%q gave %x, %v, want %x, %v", s, got, err, want, wantErr)
		}
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	compare("")
	for _, a := range alphabet {
		compare(string(a))
		for _, b := range alphabet {
			two := string(a) + string(b)
			compare(two)
			for length := 1; length <= 17; length++ {
				compare(strings.Repeat("Q", length) + two)
			}
			for _, c := range alphabet {
				compare(two + string(c))
				compare("-" + two + string(c))
			}
		}
	}
}

func TestBase64urlAppends(t *testing.T) {
	room := make([]byte, 0, 8)
	room = append(room, "ab"...)
	got, err := decode(room, "Y2Rl")
	if err != nil || string(got) != "abcde" || cap(got) != 8 {
		t.Errorf("got %q with room for %d, %v", got, cap(got), err)
	}
}

func TestTheAlphabetHas64Characters(t *testing.T) {
	n := 0
	for c := range 256 {
		for _, length := range []int{0, 7, 8, 15} { // alone, at the end, and within each group of eight
			s := strings.Repeat("A", length) + string([]byte{byte(c)}) + strings.Repeat("A", 8)
			for at := range len(s) - 8 {
				turned := s[at:] + s[:at]
				if inAlphabet(turned) != inAlphabet(string([]byte{byte(c)})) {
					t.Fatalf("%q depends on the place of %#x", turned, c)
				}
			}
		}
		if inAlphabet(string([]byte{byte(c)})) {
			n++
		}
	}
	if n != 64 {
		t.Errorf("%d characters are of the alphabet", n)
	}
}

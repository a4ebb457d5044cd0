package jws

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// checkReader compares a reader with Parse: one that has read something else before, without and with the header known.
func checkReader(t *testing.T, text string, want *Token, wantErr error) {
	t.Helper()
	var r Reader
	headers := NewHeaders()
	for _, turn := range []string{"first", "again", "with the header known"} {
		for _, other := range []string{usualToken(), goldenToken} {
			if _, err := r.Parse(other, headers); err != nil {
				t.Fatal(err)
			}
		}
		token, err := r.Parse(text, headers)
		if !reflect.DeepEqual(err, wantErr) {
			t.Fatalf("%s: a reader says %v, Parse says %v", turn, err, wantErr)
		}
		if err != nil {
			return
		}
		if !reflect.DeepEqual(token.Header, want.Header) || !reflect.DeepEqual(token.Claims, want.Claims) || string(token.data) != string(want.data) ||
			string(token.Payload()) != string(want.Payload()) || string(token.SigningInput()) != string(want.SigningInput()) {
			t.Fatalf("%s: a reader says\n%+v, Parse says\n%+v", turn, token, want)
		}
		if turn == "again" {
			headers.Add(token)
		}
	}
}

func TestAReaderReadsWhatParseReads(t *testing.T) {
	for _, seed := range fuzzSeeds(t) {
		token, err := Parse(seed)
		checkReader(t, seed, token, err)
	}
}

func TestAReaderAllocatesNothingForAUsualToken(t *testing.T) {
	for name, text := range map[string]string{
		"a token of usual size": usualToken(),
		"two audiences":         tokenOf(usualHeader, `{"iss":"i","sub":"s","aud":["a","b"],"client_id":"c","jti":"j","scope":"s","exp":2,"iat":1,"nbf":1}`),
	} {
		r, headers := new(Reader), NewHeaders()
		token, err := r.Parse(text, headers)
		if err != nil {
			t.Fatal(err)
		}
		headers.Add(token)
		if n := testing.AllocsPerRun(100, func() { _, _ = r.Parse(text, headers) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A header is remembered for what it says and lasts longer than the reader's buffers; one that is too long is not remembered.
func TestHeadersRemembersWhatItIsGiven(t *testing.T) {
	r, headers := new(Reader), NewHeaders()
	text := func(kid string) string {
		return tokenOf(fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":"at+jwt"}`, kid), `{"iss":"i"}`)
	}
	segment := func(kid string) string { header, _, _ := strings.Cut(text(kid), "."); return header }
	for _, kid := range []string{"a", "b", strings.Repeat("k", MaxKeyID)} {
		token, err := r.Parse(text(kid), headers)
		if err != nil {
			t.Fatal(err)
		}
		if headers.find(segment(kid)) != nil {
			t.Errorf("%q is known before it was added", kid)
		}
		headers.Add(token)
		known := headers.find(segment(kid))
		if long := len(kid) == MaxKeyID; (known == nil) != long {
			t.Fatalf("a kid of %d bytes is known: %v", len(kid), known)
		}
		if known != nil && (known.KeyID != kid || known.Algorithm != EdDSA || known.Type != "at+jwt") {
			t.Errorf("%q is remembered as %+v", kid, known)
		}
	}
	if known := headers.find(segment("a")); known == nil || known.KeyID != "a" {
		t.Errorf("after others, a is %+v", known)
	}
	if known := headers.find(segment("stranger")); known != nil {
		t.Errorf("a header that was not added is known: %+v", known)
	}
}

func TestHeadersMayBeUsedByManyAtOnce(t *testing.T) {
	headers := NewHeaders()
	var readers sync.WaitGroup
	for n := range 4 {
		readers.Go(func() {
			var r Reader
			for i := range 2000 {
				kid := fmt.Sprint("k", (i*7+n)%50)
				token, err := r.Parse(tokenOf(`{"alg":"EdDSA","kid":"`+kid+`"}`, `{"iss":"`+kid+`"}`), headers)
				if err != nil || token.Header.KeyID != kid || token.Claims.Issuer != kid {
					t.Errorf("%s: %+v, %v", kid, token, err)
					return
				}
				headers.Add(token)
			}
		})
	}
	readers.Wait()
}

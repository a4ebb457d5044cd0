package verifier_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/verifier"
)

const accepted verifier.Reason = ""

// row is a token and what becomes of it.
type row struct {
	name  string
	token string
	want  verifier.Reason
}

// judge verifies each token in a subtest.
func judge(t *testing.T, v *verifier.Verifier, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Helper()
			expect(t, v, r.token, r.want)
		})
	}
}

// expect verifies one token and checks all that a caller can rely on, whatever the outcome. It returns the result.
func expect(t *testing.T, v *verifier.Verifier, token string, want verifier.Reason) *verifier.Token {
	t.Helper()
	result, err := v.Verify(token)
	if err == nil {
		if result == nil {
			t.Fatal("neither a result nor an error")
		}
		if want != accepted {
			t.Fatalf("accepted, want refused for %s", want)
		}
		if again, err := v.Verify(token); err != nil || !reflect.DeepEqual(again, result) {
			t.Fatalf("the second time: %+v, %v; the first time: %+v", again, err, result)
		}
		return result
	}
	if result != nil {
		t.Fatal("a result and an error")
	}
	var e *verifier.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is not a *verifier.Error", err)
	}
	if e.Reason != want {
		t.Fatalf("refused for %s (%v), want %q", e.Reason, err, want)
	}
	undecided := want == verifier.ReasonStale || want == verifier.ReasonBehind
	if errors.Is(err, verifier.ErrUndecided) != undecided || errors.Is(err, verifier.ErrInvalid) == undecided {
		t.Fatalf("%v: is undecided: %v, is invalid: %v", err, errors.Is(err, verifier.ErrUndecided), errors.Is(err, verifier.ErrInvalid))
	}
	for _, segment := range longestSegments(token) {
		if strings.Contains(err.Error(), segment) {
			t.Fatalf("error %q has a part of the token in it", err)
		}
	}
	return nil
}

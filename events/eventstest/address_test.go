package eventstest

import (
	"net"
	"testing"
)

func TestNoAddressIsGivenTwice(t *testing.T) {
	var another portBlock // of another process
	given := map[string]bool{}
	for range 500 {
		addr, err := another.take()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []string{addr, FreeAddress(t)} {
			if given[a] {
				t.Fatalf("%s is given twice", a)
			}
			given[a] = true
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatalf("nobody can listen there: %v", err)
		}
		_ = l.Close()
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// post [-wait] STATUS URL [NAME=VALUE | NAME@FILE]... sends a form, as curl does with -d and --data-urlencode, and prints the answer. With
// -wait it sends it again until the status is that: the records have to reach the token service first.
func post(ts *testscript.TestScript, neg bool, args []string) {
	wait := len(args) > 0 && args[0] == "-wait"
	if wait {
		args = args[1:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: post [-wait] STATUS URL [NAME=VALUE | NAME@FILE]...")
	}
	form := url.Values{}
	for _, arg := range args[2:] {
		i := strings.IndexAny(arg, "=@")
		if i < 0 {
			ts.Fatalf("%q is neither NAME=VALUE nor NAME@FILE", arg)
		}
		value := arg[i+1:]
		if arg[i] == '@' {
			value = strings.TrimSpace(ts.ReadFile(value))
		}
		form.Add(arg[:i], value)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // between two attempts
		resp, err := http.PostForm(args[1], form)
		ts.Check(err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		ts.Check(err)
		if strings.HasPrefix(resp.Status, args[0]+" ") {
			_, err = ts.Stdout().Write(append(body, '\n'))
			ts.Check(err)
			return
		}
		if !wait || time.Now().After(deadline) {
			ts.Fatalf("status %s, want %s: %s", resp.Status, args[0], body)
		}
	}
}

// vouch ISS SUB AUD prints a token that lives for ten minutes, as a third party signs it with the private key of k2.key.
func vouch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: vouch ISS SUB AUD")
	}
	key, err := events.ParseAccessKey(strings.TrimSpace(ts.ReadFile("k2.key")))
	ts.Check(err)
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": args[0], "sub": args[1], "aud": []string{args[2]}, "iat": now, "nbf": now, "exp": now + 600})
	ts.Check(err)
	token, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: string(key.KeyID)}, claims, key.Private())
	ts.Check(err)
	_, err = io.WriteString(ts.Stdout(), token+"\n")
	ts.Check(err)
}

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// greet says what runs where, and what to do next.
func (c *serveCmd) greet(a *app, at addresses, http net.Addr, first bool) {
	fmt.Fprintf(a.err, "keyherald: token service on %s://%s (issuer %s)\n", c.scheme(), http, c.Issuer)
	if at.local != nil {
		fmt.Fprintf(a.err, "keyherald: NATS with the live keys at %s, data in %s\n", at.url, c.Data)
	} else {
		fmt.Fprintf(a.err, "keyherald: on NATS at %s\n", at.url)
	}
	if first {
		fmt.Fprintf(a.err, "keyherald: first start: the admin's access key is in %s\n", c.adminFile())
	}
	if at.local == nil {
		return
	}
	server := at.url
	if c.NATSTLSCA != "" {
		server += " --tlsca " + shellWord(c.NATSTLSCA)
	}
	nkey := func(role string) string { return shellWord(filepath.Join(c.Data, "nats", role+".nk")) }
	fmt.Fprintf(a.err, `keyherald: next, in another terminal:
%[1]s  export KEYHERALD_DATA=%[2]s KEYHERALD_ISSUER=%[3]s
  keyherald client create orders --scope "billing:read" --audience https://billing --offline
  keyherald key add orders > orders.key
  keyherald token mint --key-file orders.key --audience https://billing | keyherald token verify --audience https://billing
and with the nats CLI, as operator and as verifier:
  nats --server %[4]s --nkey %[5]s kv ls KEYS
  nats --server %[4]s --nkey %[6]s --inbox-prefix %[7]s kv get KEYS issuer.orders
`, alias(), shellWord(c.Data), shellWord(c.Issuer), server, nkey("operator"), nkey("verifier"), at.verifierInbox)
}

// alias is the line that lets a shell find this program, if it does not already: go run puts it where nobody looks.
func alias() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	if found, err := exec.LookPath("keyherald"); err == nil && sameFile(found, exe) {
		return ""
	}
	return "  alias keyherald=" + shellWord(exe) + "\n"
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// shellWord quotes a word for a POSIX shell, if that is needed.
func shellWord(s string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@%+=,[]"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

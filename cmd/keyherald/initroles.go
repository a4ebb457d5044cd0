package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
)

// printRoles prints an account of a NATS server's configuration with one user for each of the public nkeys.
func printRoles(w io.Writer, users map[bus.Role]string) error {
	for role, nkey := range users {
		if !slices.Contains(bus.Roles(), role) {
			return usage("--print-roles: there is no role %q: take admin, operator, issuer or verifier", string(role))
		}
		if !nkeys.IsValidPublicUserKey(nkey) { // nor is it shown: it may be a seed
			return usage("--print-roles: what is given for %s is not the public nkey of a user (U…)", role)
		}
	}
	var b strings.Builder
	b.WriteString(`# For a nats-server that has JetStream: jetstream { store_dir: …, sync_interval: always }
accounts {
  KEYHERALD {
    jetstream: enabled
    users: [
`)
	for _, role := range slices.Sorted(maps.Keys(users)) {
		may := role.Permissions(bus.InboxPrefix(users[role]))
		fmt.Fprintf(&b, "      # %s\n      { nkey: %s, permissions: {\n", role, users[role])
		fmt.Fprintf(&b, "        publish: { allow: %s }\n        subscribe: { allow: %s }\n      } }\n", subjects(may.Publish), subjects(may.Subscribe))
	}
	b.WriteString("    ]\n  }\n}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func subjects(list []string) string {
	var b strings.Builder
	b.WriteString("[\n")
	for _, s := range list {
		fmt.Fprintf(&b, "          %q\n", s)
	}
	b.WriteString("        ]")
	return b.String()
}

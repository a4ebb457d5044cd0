package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

type keyExportCmd struct {
	reach
	Client events.Name `arg:"" help:"Name of the client, or of another issuer."`
}

// jwkSet is a JWK set (RFC 7517 §5).
type jwkSet struct {
	Keys []json.RawMessage `json:"keys"`
}

func (c *keyExportCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(_ context.Context, o office) error {
		keys, now := o.keys.Keys(), time.Now()
		if keys.Issuer(c.Client) == nil {
			return fmt.Errorf("there is no issuer or client %q", c.Client)
		}
		entries := slices.SortedFunc(slices.Values(keys.Keys(c.Client)), func(x, y *events.KeyEntry) int { return cmp.Compare(x.KeyID, y.KeyID) })
		set := jwkSet{Keys: []json.RawMessage{}}
		for _, e := range entries {
			if state := e.State(now); !state.Usable() && state != events.KeyPending {
				continue
			}
			text, err := e.Record.Encode(e.KeyID)
			if err != nil {
				return fmt.Errorf("key %q: %w", string(e.KeyID), err)
			}
			set.Keys = append(set.Keys, text)
		}
		return printJSON(a.out, set)
	})
}

type keyImportCmd struct {
	reach
	Client events.Name `arg:"" help:"Name of the client, or of an external issuer."`
	File   string      `arg:"" help:"File with the JWK set (RFC 7517): public keys only, each of which may have nbf and exp. - is standard input." type:"path"`
}

// maxKeySetFile is more than a JWK set may have, in bytes.
const maxKeySetFile = 64 << 10

func (c *keyImportCmd) Run(ctx context.Context, a *app) error {
	text, err := a.readInput("the JWK set", c.File, maxKeySetFile)
	if err != nil {
		return err
	}
	specs, err := registry.ParseKeySet([]byte(text))
	if err != nil {
		return fmt.Errorf("nothing was registered: file %s: %w", c.File, err)
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		did, err := o.ImportKeys(ctx, a.caller, c.Client, specs)
		for _, kid := range did.Already {
			fmt.Fprintf(a.err, "key %s of %s is registered already\n", printable(string(kid)), c.Client)
		}
		for _, key := range did.Added {
			fmt.Fprintf(a.err, "registered key %s of %s at revision %d\n", printable(string(key.KeyID)), c.Client, key.Revision)
			if _, failed := fmt.Fprintln(a.out, printable(string(key.KeyID))); failed != nil {
				err = errors.Join(err, failed)
			}
		}
		return err
	})
}

package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

type keyCmd struct {
	Add    keyAddCmd    `cmd:"" help:"Register a key. Prints the new access key, once, and nothing else; with --public the kid."`
	List   keyListCmd   `cmd:"" help:"List keys and their states."`
	Rotate keyRotateCmd `cmd:"" help:"Register a new key now, and let the old ones end after an overlap. Prints like add."`
	Retire keyRetireCmd `cmd:"" help:"Give a key an end."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke a key for ever: every connected verifier refuses it within milliseconds."`
}

// publicKey is the flag of those who bring their own key.
type publicKey struct {
	Public string `help:"File with the public key to register: JWK, PEM or base64 SPKI. - is standard input. Without it, a key pair is made." placeholder:"FILE"`
}

// maxPublicKeyFile is far more than a public key has, in bytes.
const maxPublicKeyFile = 64 << 10

// read returns the key of the file, or none if there is no file.
func (p publicKey) read(a *app) (registry.PublicKey, error) {
	if p.Public == "" {
		return registry.PublicKey{}, nil
	}
	var r io.Reader = a.in
	if p.Public != "-" {
		f, err := os.Open(p.Public)
		if err != nil {
			return registry.PublicKey{}, err
		}
		defer f.Close()
		r = f
	}
	text, err := readLimited(r, maxPublicKeyFile)
	if err != nil {
		return registry.PublicKey{}, fmt.Errorf("reading the public key: %w", err)
	}
	key, err := registry.ParsePublicKey([]byte(text))
	if err != nil {
		return key, fmt.Errorf("file %s: %w", p.Public, err)
	}
	return key, nil
}

// printNewKey prints a new key's secret, or the kid of a key whose secret is elsewhere.
func printNewKey(a *app, client events.Name, key registry.NewKey) {
	fmt.Fprintf(a.err, "registered key %s of client %s at revision %d: trusted everywhere now\n", key.KeyID, client, key.Revision)
	if key.AccessKey == nil {
		fmt.Fprintln(a.out, key.KeyID)
		return
	}
	fmt.Fprintln(a.err, "the access key is printed this once and kept nowhere: store it where only the client can read it")
	fmt.Fprintln(a.out, key.AccessKey.Reveal())
}

type keyAddCmd struct {
	reach
	publicKey
	Kid     events.KeyID `help:"The kid of the key. Default: six random characters." placeholder:"KID"`
	NotYet  time.Time    `name:"nbf" help:"Trust the key from then on (RFC 3339)." placeholder:"TIME"`
	Expires time.Time    `name:"exp" help:"Trust the key until then (RFC 3339)." placeholder:"TIME"`
	Client  events.Name  `arg:"" help:"Name of the client."`
}

func (c *keyAddCmd) Run(a *app) error {
	brought, err := c.read(a)
	if err != nil {
		return err
	}
	return c.withRegistry(a, func(o office) error {
		key, err := o.AddKey(o.ctx, a.caller, c.Client, registry.KeySpec{
			KeyID: cmp.Or(c.Kid, brought.KeyID), Public: brought.Public, Algorithm: brought.Algorithm, NotBefore: c.NotYet, Expires: c.Expires,
		})
		if err != nil {
			return err
		}
		printNewKey(a, c.Client, key)
		return nil
	})
}

type keyRotateCmd struct {
	reach
	publicKey
	Kid     events.KeyID  `help:"The kid of the new key. Default: six random characters." placeholder:"KID"`
	Overlap time.Duration `help:"How long the old keys may still be used to mint. They are accepted until the last token that they can have minted has ended." default:"24h"`
	Force   bool          `help:"End the old keys after the overlap even though live tokens of theirs are refused then."`
	Client  events.Name   `arg:"" help:"Name of the client."`
}

func (c *keyRotateCmd) Run(a *app) error {
	brought, err := c.read(a)
	if err != nil {
		return err
	}
	return c.withRegistry(a, func(o office) error {
		rotated, err := o.RotateKey(o.ctx, a.caller, c.Client, registry.Rotation{
			KeyID: cmp.Or(c.Kid, brought.KeyID), Public: brought.Public, Algorithm: brought.Algorithm, Overlap: c.Overlap, Force: c.Force,
		})
		if err != nil {
			return err
		}
		printNewKey(a, c.Client, rotated.New)
		for _, old := range rotated.Ended {
			fmt.Fprintf(a.err, "key %s ends at %s\n", old.KeyID, time.Unix(old.Record.Expires, 0).Format(time.RFC3339))
		}
		return nil
	})
}

type keyRetireCmd struct {
	reach
	At     time.Time    `help:"When (RFC 3339). Without it: as soon as no token that the key may have signed is valid any more." placeholder:"TIME"`
	Force  bool         `help:"Allow an earlier end, even though live tokens of the key are refused then."`
	Client events.Name  `arg:"" help:"Name of the client, or of an external issuer."`
	Kid    events.KeyID `arg:"" help:"The key's kid."`
}

func (c *keyRetireCmd) Run(a *app) error {
	return c.withRegistry(a, func(o office) error {
		retired, err := o.RetireKey(o.ctx, a.caller, c.Client, c.Kid, registry.Retirement{At: c.At, Force: c.Force})
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "key %s of client %s ends at %s\n", c.Kid, c.Client, time.Unix(retired.Record.Expires, 0).Format(time.RFC3339))
		return nil
	})
}

type keyRevokeCmd struct {
	reach
	Reason string       `help:"Why; it is kept with the revocation." placeholder:"TEXT"`
	Client events.Name  `arg:"" help:"Name of the client, or of another issuer."`
	Kid    events.KeyID `arg:"" help:"The key's kid."`
}

func (c *keyRevokeCmd) Run(a *app) error {
	return c.withRegistry(a, func(o office) error {
		revoked, err := o.RevokeKey(o.ctx, a.caller, c.Client, c.Kid, c.Reason)
		if err != nil {
			return err
		}
		if revoked.Already {
			fmt.Fprintf(a.err, "key %s of %s has been revoked since %s, by %s\n", c.Kid, c.Client, revoked.At.Format(time.RFC3339), printable(revoked.Caller))
		} else {
			fmt.Fprintf(a.err, "revoked key %s of %s for ever, at revision %d\n", c.Kid, c.Client, revoked.Revision)
		}
		if !revoked.Known {
			fmt.Fprintf(a.err, "WARNING: %s has no key %s now: if that was a typing error, another key is still trusted; see keyherald key list %[1]s\n", c.Client, c.Kid)
		}
		return nil
	})
}

type keyListCmd struct {
	reach
	JSON   bool        `name:"json" help:"Print JSON."`
	Client events.Name `arg:"" optional:"" help:"Name of the client, or of another issuer. Without it: the keys of all."`
}

// keyReport is a key in the output of --json. It is an interface: members are added, not changed.
type keyReport struct {
	Issuer    events.Name      `json:"issuer"`
	KeyID     events.KeyID     `json:"kid"`
	State     string           `json:"state"`
	Algorithm events.Algorithm `json:"alg,omitempty"`
	IssuedAt  int64            `json:"iat,omitempty"`
	NotBefore int64            `json:"nbf,omitempty"`
	Expires   int64            `json:"exp,omitempty"`
	Reason    string           `json:"reason,omitempty"` // of the revocation
	Revision  uint64           `json:"revision"`
}

func reportKey(e *events.KeyEntry, now time.Time) keyReport {
	r := keyReport{Issuer: e.Issuer, KeyID: e.KeyID, State: e.State(now).String(), Revision: max(e.Revision, e.RevokedBy)}
	if k := e.Record; k != nil {
		r.Algorithm, r.IssuedAt, r.NotBefore, r.Expires = k.Algorithm, k.IssuedAt, k.NotBefore, k.Expires
		if k.Revoked != nil {
			r.Reason = k.Revoked.Reason
		}
	}
	if e.Reason != nil {
		r.Reason = e.Reason.Reason
	}
	return r
}

func (c *keyListCmd) Run(a *app) error {
	return c.withRegistry(a, func(o office) error {
		set, now := o.keys.Keys(), time.Now()
		reports := []keyReport{}
		if c.Client != "" {
			for _, e := range set.Keys(c.Client) {
				reports = append(reports, reportKey(e, now))
			}
		} else {
			for e := range set.AllKeys() {
				reports = append(reports, reportKey(e, now))
			}
		}
		slices.SortFunc(reports, func(x, y keyReport) int {
			return cmp.Or(cmp.Compare(x.Issuer, y.Issuer), cmp.Compare(x.Revision, y.Revision), cmp.Compare(x.KeyID, y.KeyID))
		})
		if c.JSON {
			return printJSON(a.out, reports)
		}
		t := newTable(a.out, "ISSUER", "KID", "STATE", "ALG", "UNTIL", "REVISION", "REASON")
		for _, r := range reports {
			until := ""
			if r.Expires != 0 {
				until = time.Unix(r.Expires, 0).Format(time.RFC3339)
			}
			t.row(string(r.Issuer), printable(string(r.KeyID)), r.State, string(r.Algorithm), until, fmt.Sprint(r.Revision), printable(r.Reason))
		}
		return t.flush()
	})
}

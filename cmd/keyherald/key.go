package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

type keyCmd struct {
	Add    keyAddCmd    `cmd:"" help:"Register a key. Prints the new access key, once, and nothing else; with --public the kid."`
	List   keyListCmd   `cmd:"" help:"List keys and their states."`
	Rotate keyRotateCmd `cmd:"" help:"Register a new key now, and let the old ones end after an overlap. Prints as add does."`
	Retire keyRetireCmd `cmd:"" help:"Give a key an end, by default as soon as no live token depends on it."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke a key for ever: every connected verifier refuses it within milliseconds."`
	Export keyExportCmd `cmd:"" help:"Print the public keys that are trusted now or will be, as a JWK set."`
	Import keyImportCmd `cmd:"" help:"Register all keys of a JWK set, or none. Prints the new kids."`
}

// publicKey is the flags of those who bring their own key.
type publicKey struct {
	Public string           `help:"File with the public key to register: JWK, PEM or base64 SPKI. - is standard input. Without it, a key pair is made." placeholder:"FILE"`
	Alg    events.Algorithm `help:"Algorithm of an RSA key that does not say: RS256 or PS256." enum:",EdDSA,ES256,RS256,PS256" default:"" placeholder:"ALG"`
}

// maxPublicKeyFile is far more than a public key has, in bytes.
const maxPublicKeyFile = 64 << 10

// read returns the key of the file, or none if there is no file.
func (p publicKey) read(a *app) (registry.PublicKey, error) {
	if p.Public == "" {
		if p.Alg != "" {
			return registry.PublicKey{}, usage("--alg goes with --public: a key pair that is made here is Ed25519")
		}
		return registry.PublicKey{}, nil
	}
	text, err := a.readInput("the public key", p.Public, maxPublicKeyFile)
	if err != nil {
		return registry.PublicKey{}, err
	}
	key, err := registry.ParsePublicKey([]byte(text))
	if err != nil {
		return key, fmt.Errorf("file %s: %w", p.Public, err)
	}
	if p.Alg != "" && key.Algorithm != "" && key.Algorithm != p.Alg {
		return key, usage("--alg %s: the key in file %s is for %s", p.Alg, p.Public, key.Algorithm)
	}
	key.Algorithm = cmp.Or(key.Algorithm, p.Alg)
	return key, nil
}

// keyOut is where the access key of a pair goes that is made here.
type keyOut struct {
	publicKey
	secretOut
}

func (k keyOut) check() error {
	if k.Public != "" && k.Out != "" {
		return usage("--out and --public do not go together: whoever made the pair has the private key")
	}
	return nil
}

// print prints a new key's secret, or the kid of a key whose secret is elsewhere.
func (k keyOut) print(a *app, out io.Writer, client events.Name, key registry.NewKey) error {
	trusted := "now"
	if from := time.Unix(key.Record.NotBefore, 0); from.After(time.Now()) {
		trusted = "from " + day(key.Record.NotBefore) + " on"
	}
	fmt.Fprintf(a.err, "registered key %s of %s at revision %d: trusted everywhere %s\n", key.KeyID, client, key.Revision, trusted)
	if key.AccessKey == nil {
		_, err := fmt.Fprintln(out, key.KeyID)
		return err
	}
	fmt.Fprintf(a.err, "the access key is %s and kept nowhere else: store it where only the client can read it\n", k.where())
	if _, err := fmt.Fprintln(out, key.AccessKey.Reveal()); err != nil {
		return &hinted{fmt.Errorf("the key was registered and its access key could not be printed, nobody has it: %w", err),
			fmt.Sprintf("keyherald key revoke %s %s, and try again", client, key.KeyID)}
	}
	return nil
}

type keyAddCmd struct {
	reach
	keyOut
	Kid     events.KeyID `help:"The kid of the key. Default: six random characters." placeholder:"KID"`
	NotYet  time.Time    `name:"nbf" help:"Trust the key from then on, such as 2030-01-31T08:00:00Z." placeholder:"TIME"`
	Expires time.Time    `name:"exp" help:"Trust the key until then, such as 2030-01-31T08:00:00Z." placeholder:"TIME"`
	Client  events.Name  `arg:"" help:"Name of the client."`
}

func (c *keyAddCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	brought, err := c.read(a)
	if err != nil {
		return err
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		return c.hand(a, func(out io.Writer) error {
			key, err := o.AddKey(ctx, a.caller, c.Client, registry.KeySpec{
				KeyID: cmp.Or(c.Kid, brought.KeyID), Public: brought.Public, Algorithm: brought.Algorithm, NotBefore: c.NotYet, Expires: c.Expires,
			})
			if err != nil {
				return err
			}
			return c.print(a, out, c.Client, key)
		})
	})
}

type keyRotateCmd struct {
	reach
	keyOut
	Kid     events.KeyID  `help:"The kid of the new key. Default: six random characters." placeholder:"KID"`
	Overlap time.Duration `help:"How long the old keys may still be used to mint. They are accepted until the last token that they can have minted has ended." default:"24h" placeholder:"DURATION"`
	Force   bool          `help:"End the old keys after the overlap even though live tokens of theirs are refused then."`
	Client  events.Name   `arg:"" help:"Name of the client."`
}

func (c *keyRotateCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	brought, err := c.read(a)
	if err != nil {
		return err
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		return c.hand(a, func(out io.Writer) error {
			rotated, err := o.RotateKey(ctx, a.caller, c.Client, registry.Rotation{
				KeyID: cmp.Or(c.Kid, brought.KeyID), Public: brought.Public, Algorithm: brought.Algorithm, Overlap: c.Overlap, Force: c.Force,
			})
			if err != nil {
				return err
			}
			for _, old := range rotated.Ended {
				fmt.Fprintf(a.err, "old key %s ends at %s\n", printable(string(old.KeyID)), day(old.Record.Expires))
			}
			return c.print(a, out, c.Client, rotated.New)
		})
	})
}

type keyRetireCmd struct {
	reach
	At     time.Time    `help:"When (RFC 3339). Without it: as soon as no token that the key may have signed is valid any more." placeholder:"TIME"`
	Force  bool         `help:"Allow an earlier end, even though live tokens of the key are refused then."`
	Client events.Name  `arg:"" help:"Name of the client, or of an external issuer."`
	Kid    events.KeyID `arg:"" help:"The key's kid."`
}

func (c *keyRetireCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		retired, err := o.RetireKey(ctx, a.caller, c.Client, c.Kid, registry.Retirement{At: c.At, Force: c.Force})
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "key %s of %s ends at %s\n", printable(string(c.Kid)), c.Client, day(retired.Record.Expires))
		return nil
	})
}

type keyRevokeCmd struct {
	reach
	Reason string       `help:"Why; it is kept with the revocation, for all to read." placeholder:"TEXT"`
	Force  bool         `help:"Revoke also a kid that no key has now."`
	Client events.Name  `arg:"" help:"Name of the client, or of another issuer."`
	Kid    events.KeyID `arg:"" help:"The key's kid."`
}

func (c *keyRevokeCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		// A typing error would leave the leaked key trusted, while the operator goes back to sleep.
		if o.keys.Keys().Key(c.Client, c.Kid) == nil && !c.Force {
			return &hinted{fmt.Errorf("nothing was revoked: %q has no key %q", c.Client, c.Kid),
				fmt.Sprintf("see keyherald key list %s; --force revokes a kid that is not known now, such as that of a deleted key", printable(string(c.Client)))}
		}
		revoked, err := o.RevokeKey(ctx, a.caller, c.Client, c.Kid, c.Reason)
		if err != nil {
			return err
		}
		kid := printable(string(c.Kid))
		if revoked.Already {
			fmt.Fprintf(a.err, "key %s of %s has been revoked since %s, by %s\n", kid, c.Client, day(revoked.At.Unix()), printable(revoked.Caller))
		} else {
			fmt.Fprintf(a.err, "revoked key %s of %s for ever, at revision %d\n", kid, c.Client, revoked.Revision)
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

func (c *keyListCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		set, now := o.keys.Keys(), time.Now()
		reports := []keyReport{}
		if c.Client != "" {
			for _, e := range set.Keys(c.Client) {
				reports = append(reports, reportKey(e, now))
			}
			if len(reports) == 0 && set.Issuer(c.Client) == nil {
				return fmt.Errorf("there is no issuer or client %q, nor a key of one", c.Client)
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
		t := newTable(a.out, "ISSUER", "KID", "STATE", "ALG", "FROM", "UNTIL", "REVISION", "REASON")
		for _, r := range reports {
			t.row(string(r.Issuer), printable(string(r.KeyID)), r.State, string(r.Algorithm), day(r.NotBefore), day(r.Expires), fmt.Sprint(r.Revision), printable(r.Reason))
		}
		return t.flush()
	})
}

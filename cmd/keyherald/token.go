package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

type tokenCmd struct {
	Mint    tokenMintCmd    `cmd:"" help:"Mint a token offline, with an access key. Prints only the token."`
	Request tokenRequestCmd `cmd:"" help:"Get a token from the token service. Prints only the token."`
	Assert  tokenAssertCmd  `cmd:"" help:"Make an assertion, to get a token with curl. Prints only the assertion."`
	Verify  tokenVerifyCmd  `cmd:"" help:"Verify the token on standard input. Exit 0: valid, its claims are printed; 1: refused; 3: undecided."`
	Revoke  tokenRevokeCmd  `cmd:"" help:"Revoke the token on standard input."`
	Decode  tokenDecodeCmd  `cmd:"" help:"Show the token on standard input without verifying it."`
}

// credential is where a client's own secret comes from: never from an argument, which every user of the machine can see.
type credential struct {
	KeyFile string `help:"File with the access key, as printed by key add." placeholder:"FILE" type:"path"`
}

// accessKeyVariable holds an access key when there is no file.
const accessKeyVariable = "KEYHERALD_ACCESS_KEY"

// maxSecretFile is far more than an access key or an API key has, in bytes.
const maxSecretFile = 16 << 10

func (c credential) accessKey() (events.AccessKey, error) {
	text := os.Getenv(accessKeyVariable)
	if c.KeyFile != "" {
		var err error
		if text, err = readSecret(c.KeyFile); err != nil {
			return events.AccessKey{}, fmt.Errorf("reading the access key: %w", err)
		}
	}
	if text == "" {
		return events.AccessKey{}, usage("no access key: give a file with --key-file, or the key in %s", accessKeyVariable)
	}
	key, err := events.ParseAccessKey(text)
	if err != nil && c.KeyFile != "" {
		return key, fmt.Errorf("file %s: %w", c.KeyFile, err)
	} else if err != nil {
		return key, fmt.Errorf("%s: %w", accessKeyVariable, err)
	}
	return key, nil
}

// minter mints, with the access key, tokens and assertions for the token service of an issuer.
func (c credential) minter(issuer string) (*mint.Minter, error) {
	key, err := c.accessKey()
	if err != nil {
		return nil, err
	}
	return mint.FromAccessKey(key, issuer)
}

func readSecret(file string) (string, error) { return readFile(file, maxSecretFile) }

func readFile(file string, limit int64) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readLimited(f, limit)
}

// readInput reads a file with what is said to be in it, of at most limit bytes; - is standard input.
func (a *app) readInput(what, file string, limit int64) (string, error) {
	var r io.Reader = a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		r = f
	}
	text, err := readLimited(r, limit)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", what, err)
	}
	return text, nil
}

func readLimited(r io.Reader, limit int64) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return strings.TrimSpace(string(text)), err
}

// readToken reads the token on standard input.
func readToken(a *app) (string, error) {
	token, err := readLimited(a.in, jws.MaxToken+2) // a line break may follow it
	if err != nil {
		return "", fmt.Errorf("reading the token from standard input: %w", err)
	}
	if token == "" {
		return "", usage("no token on standard input: pipe one in")
	}
	return token, nil
}

type tokenMintCmd struct {
	credential
	Issuer   string        `help:"URL of the platform's token service." required:"" placeholder:"URL"`
	Audience []string      `help:"Audience of the token; may be repeated." required:"" xor:"audience" placeholder:"AUD" sep:"none"`
	Account  bool          `help:"For the audience of the account that the access key names, as SDKs of Authress mint: good for the registry's API." required:"" xor:"audience"`
	Scope    string        `help:"Scope of the token. Without it, all that the client's record grants." placeholder:"SCOPE"`
	TTL      time.Duration `name:"ttl" help:"How long the token is valid, at most 24h." default:"15m" placeholder:"DURATION"`
}

func (c *tokenMintCmd) Run(a *app) error {
	minter, err := c.minter(c.Issuer)
	if err != nil {
		return err
	}
	if c.Account {
		c.Audience = []string{minter.AccountAudience()}
	}
	token, err := minter.Token(mint.Request{Audience: c.Audience, Scope: c.Scope, TTL: c.TTL})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, token)
	return err
}

type tokenVerifyCmd struct {
	reach
	Audience        string        `help:"What this service is called in the aud of tokens." required:"" placeholder:"AUD" sep:"none"`
	AccountAudience bool          `help:"Also accept tokens for the account's audience, as SDKs of Authress mint them."`
	External        []events.Name `help:"External issuer whose access tokens are accepted; may be repeated." placeholder:"NAME" sep:"none"`
	Cert            string        `help:"File with the certificate (PEM) that whoever sent the token has shown, for one that is bound to it." placeholder:"FILE" type:"path"`
	MaxStaleness    time.Duration `help:"How old the key set may be for a decision; negative: of any age." default:"1h" placeholder:"DURATION"`
}

func (c *tokenVerifyCmd) Run(ctx context.Context, a *app) error {
	token, err := readToken(a)
	if err != nil {
		return err
	}
	if err := checkStaleness(c.MaxStaleness); err != nil {
		return err
	}
	var request verifier.Request
	if c.Cert != "" {
		cert, err := certificateFile(a, c.Cert)
		if err != nil {
			return err
		}
		request.Confirm = verifier.ByCertificate(cert)
	}
	ctx, conn, done, err := c.connect(ctx, a, bus.Verifier)
	if err != nil {
		return undecided(err)
	}
	defer done()
	keys := conn.FollowKeys(a.log)
	defer keys.Close()
	v, err := verifier.New(verifier.Config{
		Audience: c.Audience, AccountAudience: c.AccountAudience, Externals: c.External, MaxStaleness: c.MaxStaleness, Logger: a.log,
	}, keys)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if err := keys.Wait(ctx); err != nil {
		return undecided(err)
	}
	accepted, err := v.VerifyRequest(token, request)
	switch {
	case errors.Is(err, verifier.ErrUndecided):
		return undecided(err)
	case err != nil:
		return fmt.Errorf("refused: %w", err)
	}
	return printJSON(a.out, accepted.Claims())
}

// undecided says that it is not known whether the token is good, unless the command line was wrong.
func undecided(err error) error {
	if exitCode(err) == exitUsage {
		return err
	}
	return &exitError{exitUndecided, fmt.Errorf("undecided: %w", err)}
}

// checkStaleness refuses zero, which a reader takes for no age at all and the packages for their default.
func checkStaleness(d time.Duration) error {
	if d == 0 {
		return usage("--max-staleness 0: no set is that young; negative lifts the limit")
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(asciiJSON{w})
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

type tokenRevokeCmd struct {
	reach
	Reason string `help:"Why; it is kept with the revocation." placeholder:"TEXT"`
}

func (c *tokenRevokeCmd) Run(ctx context.Context, a *app) error {
	text, err := readToken(a)
	if err != nil {
		return err
	}
	token, err := jws.Parse(text)
	if err != nil {
		return err
	}
	if !token.Claims.HasExpiry {
		return errors.New("the token has no exp: no verifier accepts it")
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		if _, err := o.RevokeToken(ctx, a.caller, verifier.TokenID(token), time.Unix(token.Claims.Expiry, 0), c.Reason); err != nil {
			return err
		}
		fmt.Fprintln(a.err, "revoked: every connected verifier refuses it now")
		return nil
	})
}

type tokenDecodeCmd struct{}

func (c *tokenDecodeCmd) Run(a *app) error {
	text, err := readToken(a)
	if err != nil {
		return err
	}
	token, err := jws.Parse(text)
	if err != nil {
		return err
	}
	encoded, _, _ := strings.Cut(text, ".")
	header, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.err, "NOT VERIFIED: anybody can write this")
	return printJSON(a.out, map[string]json.RawMessage{"header": header, "claims": token.Payload()})
}

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
		return events.AccessKey{}, &exitError{exitUsage, fmt.Errorf("no access key: give a file with --key-file, or the key in %s", accessKeyVariable)}
	}
	key, err := events.ParseAccessKey(text)
	if err != nil && c.KeyFile != "" {
		return key, fmt.Errorf("file %s: %w", c.KeyFile, err)
	} else if err != nil {
		return key, fmt.Errorf("%s: %w", accessKeyVariable, err)
	}
	return key, nil
}

func readSecret(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readLimited(f, maxSecretFile)
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
		return "", &exitError{exitUsage, errors.New("no token on standard input: pipe one in")}
	}
	return token, nil
}

type tokenMintCmd struct {
	credential
	Issuer   string        `help:"URL of the platform's token service." required:"" placeholder:"URL"`
	Audience []string      `help:"Audience of the token; may be repeated." required:"" placeholder:"AUD" sep:"none"`
	Scope    string        `help:"Scope of the token. Without it, all that the client's record grants." placeholder:"SCOPE"`
	TTL      time.Duration `name:"ttl" help:"How long the token is valid." default:"15m"`
}

func (c *tokenMintCmd) Run(a *app) error {
	key, err := c.accessKey()
	if err != nil {
		return err
	}
	minter, err := mint.FromAccessKey(key, c.Issuer)
	if err != nil {
		return err
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
	External        []events.Name `help:"External issuer whose access tokens are accepted; may be repeated." placeholder:"NAME"`
	MaxStaleness    time.Duration `help:"How old the key set may be for a decision." default:"1h"`
}

func (c *tokenVerifyCmd) Run(a *app) error {
	token, err := readToken(a)
	if err != nil {
		return err
	}
	cfg, err := c.config(a, bus.Verifier)
	if err != nil {
		return &exitError{exitUndecided, err}
	}
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	v, err := verifier.Connect(ctx, verifier.Config{
		NATS: cfg.URL, SeedFile: cfg.SeedFile, CredsFile: cfg.CredsFile, Logger: a.log,
		Audience: c.Audience, AccountAudience: c.AccountAudience, Externals: c.External, MaxStaleness: c.MaxStaleness,
	})
	if err != nil {
		return &exitError{exitUndecided, fmt.Errorf("undecided: %w", err)}
	}
	defer v.Close()
	accepted, err := v.Verify(token)
	switch {
	case errors.Is(err, verifier.ErrUndecided):
		return &exitError{exitUndecided, fmt.Errorf("undecided: %w", err)}
	case err != nil:
		return fmt.Errorf("refused: %w", err)
	}
	return printJSON(a.out, accepted.Claims())
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

type tokenRevokeCmd struct {
	reach
	Reason string `help:"Why; it is kept with the revocation." placeholder:"TEXT"`
}

func (c *tokenRevokeCmd) Run(a *app) error {
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
	id := events.TokenByText(token.SigningInput())
	if token.Claims.ID != "" {
		id = events.TokenByID(token.Claims.Issuer, token.Claims.ID)
	}
	return c.withRegistry(a, func(o office) error {
		if _, err := o.RevokeToken(o.ctx, a.caller, id, time.Unix(token.Claims.Expiry, 0), c.Reason); err != nil {
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

type tokenRequestCmd struct {
	credential
	SecretFile string        `help:"File with the API key, as printed by secret add, to use instead of an access key." placeholder:"FILE" type:"path"`
	Issuer     string        `help:"URL of the platform's token service." required:"" placeholder:"URL"`
	Audience   []string      `help:"Audience of the token; may be repeated. Without it, all that the client is registered for." placeholder:"AUD" sep:"none"`
	Scope      string        `help:"Scope of the token. Without it, all that the client's record grants." placeholder:"SCOPE"`
	Timeout    time.Duration `help:"How long to wait for the answer." default:"15s"`
}

func (c *tokenRequestCmd) Run(a *app) error {
	credential, err := c.credentialOf()
	if err != nil {
		return err
	}
	requester, err := mint.NewRequester(mint.RequesterConfig{Issuer: c.Issuer, Credential: credential})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	token, err := requester.Token(ctx, mint.Request{Audience: c.Audience, Scope: c.Scope})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, token.AccessToken)
	return err
}

// credentialOf is the access key or the API key, whichever was given.
func (c *tokenRequestCmd) credentialOf() (mint.Credential, error) {
	if c.SecretFile == "" {
		key, err := c.accessKey()
		if err != nil {
			return nil, err
		}
		return mint.FromAccessKey(key, c.Issuer)
	}
	if c.KeyFile != "" {
		return nil, &exitError{exitUsage, errors.New("both --key-file and --secret-file are given: use one")}
	}
	text, err := readSecret(c.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("reading the API key: %w", err)
	}
	key, err := events.ParseAPIKey(text)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", c.SecretFile, err)
	}
	return mint.APIKey(key), nil
}

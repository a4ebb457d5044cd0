package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/verifier"
)

// benchFeed is a key set that was filled once, and is complete.
type benchFeed struct {
	keys        *events.Set
	revocations *events.Revocations
}

var _ verifier.Feed = benchFeed{}

func (f benchFeed) Keys() *events.Set                { return f.keys }
func (f benchFeed) Revocations() *events.Revocations { return f.revocations }
func (f benchFeed) Confirmed() time.Time             { return time.Now() }

const (
	benchIssuer   = "https://auth.example.com"
	benchAudience = "https://billing.example.com"
	benchScope    = "billing:read billing:write"
	mostRSAPairs  = 16
)

// crowd is many clients that mint, and a verifier that knows them all.
type crowd struct {
	verify  func(token string) error
	minters []*mint.Minter
	publics []crypto.PublicKey // publics[i] is that of minters[i]
	next    atomic.Int64       // whose turn it is to mint
}

// newCrowd makes clients with a key each; step is called twice for each of them.
func newCrowd(ctx context.Context, alg events.Algorithm, keys int, step func()) (*crowd, error) {
	c := &crowd{minters: make([]*mint.Minter, keys), publics: make([]crypto.PublicKey, keys)}
	pairs := make([]func() (crypto.Signer, error), keys)
	if alg == events.RS256 {
		pairs = pairs[:min(keys, mostRSAPairs)]
	}
	for i := range pairs {
		pairs[i] = sync.OnceValues(func() (crypto.Signer, error) { return newPair(alg) })
	}
	records := make([][]byte, keys)
	err := parallel(ctx, runtime.GOMAXPROCS(0), keys, func(_ context.Context, i int) error {
		defer step()
		key, err := pairs[i%len(pairs)]()
		if err != nil {
			return err
		}
		c.publics[i] = key.Public()
		if records[i], err = (&events.Key{Algorithm: alg, Public: c.publics[i]}).Encode(benchKid); err != nil {
			return err
		}
		c.minters[i], err = mint.New(mint.Config{Issuer: benchIssuer, Client: benchName(i), KeyID: benchKid, Key: key, Algorithm: alg})
		return err
	})
	if err != nil {
		return nil, err
	}
	feed := benchFeed{events.NewSet(nil), events.NewRevocations(nil)}
	var revision uint64
	apply := func(name events.RecordName, value []byte) {
		revision++
		feed.keys.Apply(events.Entry{Name: name.String(), Value: value, Revision: revision, Time: time.Now()})
	}
	apply(events.IssuerRecord(events.Platform), fmt.Appendf(nil, `{"type":"platform","status":"active","iss":%q}`, benchIssuer))
	client := fmt.Appendf(nil, `{"type":"client","status":"active","aud":[%q],"scope":%q,"offline":true}`, benchAudience, benchScope)
	for i, record := range records {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		apply(events.IssuerRecord(benchName(i)), client)
		apply(events.KeyRecord(benchName(i), benchKid), record)
		step()
	}
	v, err := verifier.New(verifier.Config{Audience: benchAudience}, feed)
	c.verify = func(token string) error {
		_, err := v.Verify(token)
		return err
	}
	return c, err
}

const benchKid = events.KeyID("k1")

// benchName is of the length of those that the registry makes.
func benchName(i int) events.Name { return events.Name(fmt.Sprintf("sc_%022d", i)) }

func newPair(alg events.Algorithm) (crypto.Signer, error) {
	switch alg {
	case events.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case events.RS256:
		return rsa.GenerateKey(rand.Reader, events.MinRSABits)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return private, err
}

// benchToken is a token with what it takes to verify its signature and nothing else.
type benchToken struct {
	text      string
	public    crypto.PublicKey
	signed    []byte
	signature []byte // as the standard library takes it
}

// mint makes a token as no other is: it has a jti of its own.
func (c *crowd) mint() (t benchToken, err error) {
	i := int(c.next.Add(1)) % len(c.minters)
	if t.text, err = c.minters[i].Token(mint.Request{Audience: []string{benchAudience}, Scope: benchScope, TTL: time.Hour}); err != nil {
		return t, err
	}
	dot := strings.LastIndexByte(t.text, '.')
	t.public, t.signed = c.publics[i], []byte(t.text[:dot])
	if t.signature, err = base64.RawURLEncoding.DecodeString(t.text[dot+1:]); err != nil {
		return t, err
	}
	if _, ok := t.public.(*ecdsa.PublicKey); ok {
		half := len(t.signature) / 2
		t.signature, err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(t.signature[:half]), new(big.Int).SetBytes(t.signature[half:])})
	}
	return t, err
}

const (
	// warmTokens is how many tokens of each key are verified before anything is measured: the verifier then has the tables of the keys in
	// use, as in a service that has run for a while.
	warmTokens = 24
	// mostWarmKeys is for how many keys that is done. Of more keys the tables do not fit into the verifier's memory.
	mostWarmKeys = 2000
)

// warmUp lets the verifier make the tables of the keys, if they are few enough; step is called for each key.
func (c *crowd) warmUp(ctx context.Context, step func()) error {
	if len(c.minters) > mostWarmKeys {
		return nil
	}
	return parallel(ctx, runtime.GOMAXPROCS(0), len(c.minters), func(context.Context, int) error {
		defer step()
		for range warmTokens {
			t, err := c.mint()
			if err == nil {
				err = c.verify(t.text)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

var errRawSignature = errors.New("the signature of a token that was just minted does not verify")

// verifyRaw is what no verifier can do without.
func (t *benchToken) verifyRaw() error {
	ok := false
	switch key := t.public.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, t.signed, t.signature)
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(t.signed)
		ok = ecdsa.VerifyASN1(key, digest[:], t.signature)
	case *rsa.PublicKey:
		digest := sha256.Sum256(t.signed)
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.signature) == nil
	}
	if !ok {
		return errRawSignature
	}
	return nil
}

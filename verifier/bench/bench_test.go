package bench

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
)

const manyKeys = 1000

// crowd is a set of many clients, each with a key and a token of about 500 bytes.
type crowd struct {
	*world
	tokens []string
	public map[string]ed25519.PublicKey // by kid, which here are all different
}

func newCrowd(b *testing.B) *crowd {
	c := &crowd{world: newWorld(b), public: map[string]ed25519.PublicKey{}}
	for i := range manyKeys {
		name, kid := fmt.Sprintf("client%d", i), fmt.Sprintf("k%d", i)
		c.client(name)
		k := c.register(name, clientURL(name), kid, "EdDSA", edKey(name))
		c.tokens = append(c.tokens, compact(k, "EdDSA", goodHeader(k).String(), goodClaims(k).String()))
		c.public[kid] = k.private.Public().(ed25519.PublicKey)
	}
	return c
}

// BenchmarkVerify verifies the tokens of 1,000 clients in turn, with us and with others, and reports x-ours: how long ours takes as a
// multiple of theirs, measured in turns in the same run. Bar: 0.8 of golang-jwt with keyfunc.
//
// The others check less: a kid is looked up as if it were the same for every issuer, and no client's record bounds what a token
// says.
func BenchmarkVerify(b *testing.B) {
	c := newCrowd(b)
	for _, other := range []struct {
		name   string
		verify func(token string) error
	}{
		{"golang-jwt and keyfunc", c.keyfunc(b)},
		{"golang-jwt and a map of keys", c.golangMap},
		{"go-jose and a map of keys", c.joseMap},
	} {
		b.Run(other.name, func(b *testing.B) { c.compare(b, other.verify) })
	}
}

// keyfunc verifies with golang-jwt, its keys kept by keyfunc.
func (c *crowd) keyfunc(b *testing.B) func(string) error {
	storage := jwkset.NewMemoryStorage()
	for kid, public := range c.public {
		jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: kid, ALG: jwkset.AlgEdDSA, USE: jwkset.UseSig},
		})
		if err == nil {
			err = storage.KeyWrite(b.Context(), jwk)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	keys, err := keyfunc.New(keyfunc.Options{Ctx: b.Context(), Storage: storage})
	if err != nil {
		b.Fatal(err)
	}
	parser := golangParser()
	return func(token string) error {
		_, err := parser.Parse(token, keys.Keyfunc)
		return err
	}
}

func (c *crowd) golangMap(token string) error {
	_, err := golangParser().ParseWithClaims(token, &jwt.RegisteredClaims{}, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if key, ok := c.public[kid]; ok {
			return key, nil
		}
		return nil, errNoKey
	})
	return err
}

func (c *crowd) joseMap(token string) error {
	parsed, err := josejwt.ParseSigned(token, joseAlgorithms)
	if err != nil {
		return err
	}
	key, ok := c.public[parsed.Headers[0].KeyID]
	if !ok {
		return errNoKey
	}
	var claims josejwt.Claims
	if err := parsed.Claims(key, &claims); err != nil {
		return err
	}
	return claims.ValidateWithLeeway(josejwt.Expected{AnyAudience: josejwt.Audience{billing}, Time: now}, leeway)
}

func (c *crowd) compare(b *testing.B, other func(string) error) {
	for _, token := range c.tokens {
		if err := c.ours(token); err != nil {
			b.Fatal(err)
		}
		if err := other(token); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs() // of the other
	i := 0
	for b.Loop() {
		_ = other(c.tokens[i%len(c.tokens)])
		i++
	}
	b.StopTimer()
	const turns, turn = 1000, 4
	var ours, theirs []time.Duration
	for i := range turns {
		ours = append(ours, c.timed(c.ours, i*turn, turn))
		theirs = append(theirs, c.timed(other, i*turn, turn))
	}
	// The undisturbed turns of both: see the benchmark of package verifier.
	slices.Sort(ours)
	slices.Sort(theirs)
	b.ReportMetric(float64(ours[turns/10])/float64(theirs[turns/10]), "x-ours")
	b.ReportMetric(testing.AllocsPerRun(100, func() { _ = c.ours(c.tokens[0]) }), "our-allocs/op")
}

func (c *crowd) timed(verify func(string) error, first, n int) time.Duration {
	start := time.Now()
	for i := range n {
		_ = verify(c.tokens[(first+i)%len(c.tokens)])
	}
	return time.Since(start)
}

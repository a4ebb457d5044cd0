package bench

import (
	"errors"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
)

// The other libraries, each used as its documentation says a careful service should: the algorithms are named, the key is found by iss
// and kid, its algorithm must be the token's, and issuer, audience and times are checked with the same clock and leeway as ours.

var (
	errNoKey     = errors.New("no such key")
	errAlgorithm = errors.New("not the key's algorithm")
	errNoExpiry  = errors.New("no exp")
)

var joseAlgorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256, jose.PS256}

// goJose verifies with go-jose, whose JSON reader minds case and duplicates.
func (w *world) goJose(token string) error {
	parsed, err := josejwt.ParseSigned(token, joseAlgorithms)
	if err != nil {
		return err
	}
	var claims josejwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return err
	}
	k := w.keys[claims.Issuer][parsed.Headers[0].KeyID]
	if k == nil {
		return errNoKey
	}
	if parsed.Headers[0].Algorithm != k.alg {
		return errAlgorithm
	}
	claims = josejwt.Claims{}
	if err := parsed.Claims(k.private.Public(), &claims); err != nil {
		return err
	}
	if claims.Expiry == nil { // go-jose takes its absence for no limit
		return errNoExpiry
	}
	return claims.ValidateWithLeeway(josejwt.Expected{Issuer: k.iss, AnyAudience: josejwt.Audience{billing}, Time: now}, leeway)
}

// golangJWT verifies with golang-jwt in its strict mode, and with its claims in a map: read into a struct, as encoding/json does it,
// "ISS" would be an iss.
func (w *world) golangJWT(token string) error {
	_, err := golangParser().Parse(token, func(t *jwt.Token) (any, error) {
		iss, err := t.Claims.GetIssuer()
		if err != nil {
			return nil, err
		}
		kid, _ := t.Header["kid"].(string)
		k := w.keys[iss][kid]
		switch {
		case k == nil:
			return nil, errNoKey
		case t.Header["alg"] != k.alg:
			return nil, errAlgorithm
		}
		return k.private.Public(), nil
	})
	return err
}

func golangParser() *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{"EdDSA", "ES256", "RS256", "PS256"}), jwt.WithStrictDecoding(), jwt.WithAudience(billing),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return now }),
	)
}

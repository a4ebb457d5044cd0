package verifier_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/verifier"
)

// FuzzVerify: whatever a token is, there is one outcome of three; and without a private key nobody makes a token that is
// accepted with other claims than those that were signed.
func FuzzVerify(f *testing.F) {
	feed := installation(f)
	v := feed.verifier(func(cfg *verifier.Config) { cfg.AccountAudience = true })
	signed := map[string]bool{} // signing inputs
	seeds := []string{online(f, onlineClaims), external(f, externalClaims), mint(f, loginKey, "JWT", externalClaims.without("iat"))}
	for _, s := range ordersKeys() {
		seeds = append(seeds, mint(f, s, "at+jwt", offlineClaims), mint(f, s, "JWT", offlineClaims.with("aud", `["`+billing+`","`+reports+`"]`)))
	}
	for _, seed := range seeds {
		if _, err := v.Verify(seed); err != nil {
			f.Fatalf("a seed is refused: %v", err)
		}
		signed[seed[:strings.LastIndexByte(seed, '.')]] = true
		f.Add(seed)
	}
	for _, refused := range []string{
		"", "..", "a.b.c", authressToken, seeds[0] + "=", seeds[0] + "." + seeds[1], "{" + seeds[0] + "}",
		forge(f, ordersKey, header("none", "k1", "at+jwt"), offlineClaims.String()),
		mint(f, shippingKey, "at+jwt", offlineClaims), offline(f, offlineClaims.with("exp", "1")),
	} {
		f.Add(refused)
	}
	f.Fuzz(func(t *testing.T, token string) {
		result, err := v.Verify(token)
		checkOutcome(t, result, err)
		if err != nil {
			return
		}
		last := strings.LastIndexByte(token, '.')
		if !signed[token[:last]] {
			t.Fatalf("accepted, and nobody has signed it: %s", token)
		}
		if result.IssuerName != "orders" && !slices.Contains(seeds, token) {
			t.Fatalf("an Ed25519 signature with another spelling: %s", token)
		}
		checkResult(t, token, result)
	})
}

// FuzzVerifySigned gets behind the signature: a client signs anything at all with its own key. What is accepted must satisfy the
// rules as they are written down here once more, over another JSON reader.
func FuzzVerifySigned(f *testing.F) {
	feed := installation(f)
	v := feed.verifier()
	good := header("EdDSA", "k1", "at+jwt")
	f.Add(good, offlineClaims.String())
	f.Add(header("Ed25519", "k1", "JWT"), offlineClaims.with("nbf", "1").with("jti", `"j"`).String())
	f.Add(header("EdDSA", "k1", "application/at+jwt"), offlineClaims.with("aud", `["`+billing+`","`+reports+`"]`).without("scope").String())
	f.Add(good, offlineClaims.with("scopes", `["openid"]`).without("scope").String())
	f.Add(good, onlineClaims.String())
	f.Add(good, offlineClaims.with("exp", "1790003590").with("iat", "1790000030").String())
	f.Add(good, strings.Replace(offlineClaims.String(), "sub", `s\u0075b`, 1))
	f.Add(`{"alg":"EdDSA","kid":"k1","typ":"at+jwt","crit":[]}`, offlineClaims.String())
	f.Fuzz(func(t *testing.T, header, payload string) {
		token := forge(t, ordersKey, header, payload)
		result, err := v.Verify(token)
		checkOutcome(t, result, err)
		if err != nil {
			return
		}
		checkResult(t, token, result)
		if err := obeysTheRules(header, payload, result); err != nil {
			t.Fatalf("%v, but accepted: %s %s", err, header, payload)
		}
	})
}

func checkOutcome(t *testing.T, result *verifier.Token, err error) {
	t.Helper()
	if (result == nil) != (err != nil) {
		t.Fatal("not either a result or an error")
	}
	if err == nil {
		return
	}
	var e *verifier.Error
	if !errors.As(err, &e) || errors.Is(err, verifier.ErrInvalid) == errors.Is(err, verifier.ErrUndecided) {
		t.Fatalf("not one of the outcomes: %v", err)
	}
}

// checkResult compares a result with the token's payload, as encoding/json reads it.
func checkResult(t *testing.T, token string, result *verifier.Token) {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(segments(token)[1])
	if err != nil || !bytes.Equal(payload, result.Claims()) {
		t.Fatalf("claims %s of payload %s", result.Claims(), payload)
	}
	c, err := readClaims(payload)
	if err != nil {
		t.Fatal(err)
	}
	if result.Issuer != c.Iss || result.Subject != c.Sub || result.ID != c.Jti || !slices.Equal(result.Audience, c.audience) ||
		result.Expires.Unix() != c.Exp || c.Iat != nil && result.IssuedAt.Unix() != *c.Iat {
		t.Fatalf("result %+v of payload %s", result, payload)
	}
}

// otherClaims is how encoding/json reads a payload.
type otherClaims struct {
	Iss, Sub, Jti string
	ClientID      string `json:"client_id"`
	Aud           any
	Exp           int64
	Iat, Nbf      *int64
	audience      []string
}

func readClaims(payload []byte) (*otherClaims, error) {
	// Only members with exactly these names: encoding/json does not mind the case.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil {
		return nil, err
	}
	exact := map[string]json.RawMessage{}
	for _, name := range []string{"iss", "sub", "jti", "client_id", "aud", "exp", "iat", "nbf"} {
		if value, ok := members[name]; ok {
			exact[name] = value
		}
	}
	again, err := json.Marshal(exact)
	if err != nil {
		return nil, err
	}
	c := new(otherClaims)
	if err := json.Unmarshal(again, c); err != nil {
		return nil, err
	}
	switch aud := c.Aud.(type) {
	case string:
		c.audience = []string{aud}
	case []any:
		for _, a := range aud {
			c.audience = append(c.audience, fmt.Sprint(a))
		}
	}
	return c, nil
}

// obeysTheRules says which rule a token of orders breaks.
func obeysTheRules(header, payload string, result *verifier.Token) error {
	var h map[string]any
	if err := json.Unmarshal([]byte(header), &h); err != nil {
		return err
	}
	c, err := readClaims([]byte(payload))
	if err != nil {
		return err
	}
	typ, _ := h["typ"].(string)
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	allowed := []string{billing, reports}
	at := now.Unix()
	switch {
	case h["alg"] != "EdDSA" && h["alg"] != "Ed25519":
		return errors.New("alg")
	case h["kid"] != "k1":
		return errors.New("kid")
	case h["crit"] != nil || h["b64"] != nil || h["enc"] != nil:
		return errors.New("crit, b64 or enc")
	case typ != "at+jwt" && typ != "jwt":
		return errors.New("typ")
	case c.Iss != ordersURL || c.Sub != "orders" || c.ClientID != "orders":
		return errors.New("iss, sub or client_id")
	case !slices.Contains(c.audience, billing) || slices.ContainsFunc(c.audience, func(a string) bool { return !slices.Contains(allowed, a) }):
		return errors.New("aud")
	case c.Iat == nil || c.Exp == 0 || at >= c.Exp+30 || *c.Iat > at+30 || c.Exp <= *c.Iat || c.Exp-*c.Iat > 3600:
		return errors.New("exp or iat")
	case c.Nbf != nil && *c.Nbf > at+30:
		return errors.New("nbf")
	}
	for _, scope := range result.Scope.Values() {
		if scope != "billing:read" && scope != "billing:write" {
			return errors.New("scope")
		}
	}
	return nil
}

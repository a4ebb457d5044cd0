package verifiertest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
	"github.com/keyherald/keyherald/verifier/verifiertest"
)

const (
	orders    = "https://orders.example.com"
	elsewhere = "https://elsewhere.example.com"
	accepted  = verifier.Reason("")
)

func newKit(t *testing.T) *verifiertest.Kit {
	return verifiertest.New(t, verifier.Config{Audience: orders, Externals: []events.Name{"login"}})
}

// expect verifies a token and compares the reason for which it is refused.
func expect(t *testing.T, v *verifier.Verifier, token string, want verifier.Reason) *verifier.Token {
	t.Helper()
	accepted, err := v.Verify(token)
	var got verifier.Reason
	var e *verifier.Error
	if errors.As(err, &e) {
		got = e.Reason
	}
	if got != want {
		t.Errorf("refused for %q (%v), want %q", got, err, want)
	}
	return accepted
}

func certificate(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestTokensAreAcceptedOrRefusedForTheReasonTheyWereMadeFor(t *testing.T) {
	kit := newKit(t)
	billing := kit.Client("billing", verifiertest.Scope("orders:read", "orders:write"))
	login := kit.External("login", verifiertest.Scope("profile"))
	wide := kit.Client("wide", verifiertest.Audience(orders, elsewhere))
	disabled, leaked := kit.Client("disabled"), kit.Client("leaked")
	online := disabled.OnlineToken()
	kit.Disable(disabled)
	early := leaked.Token()
	kit.RevokeKey(leaked)
	revoked, noID := billing.Token(), billing.Token(verifiertest.Claim("jti", nil))
	kit.RevokeToken(revoked)
	kit.RevokeToken(noID)
	for _, test := range []struct {
		name  string
		token string
		want  verifier.Reason
	}{
		{"an offline token", billing.Token(), accepted},
		{"an online token", billing.OnlineToken(), accepted},
		{"an external issuer's token", login.Token("user|77"), accepted},
		{"an offline token of a stranger", kit.Stranger("mallory").Token(), verifier.ReasonIssuer},
		{"an online token of a stranger", kit.Stranger("mallory").OnlineToken(), verifier.ReasonClient},
		{"a stranger who has a client's name", kit.Stranger("billing").Token(), verifier.ReasonKey},
		{"for another service", billing.Token(verifiertest.Audience(elsewhere)), verifier.ReasonAudience},
		{"for another service, too, which the record does not allow", billing.Token(verifiertest.Audience(orders, elsewhere)), verifier.ReasonAudience},
		{"for another service, too, which the record allows", wide.Token(verifiertest.Audience(orders, elsewhere)), accepted},
		{"an expired token", billing.Token(verifiertest.Expired()), verifier.ReasonExpired},
		{"an expired token that was to live long", billing.Token(verifiertest.TTL(time.Hour), verifiertest.Expired()), verifier.ReasonExpired},
		{"a token that begins later", billing.OnlineToken(verifiertest.NotYetValid()), verifier.ReasonTooEarly},
		{"a token of an hour", billing.Token(verifiertest.TTL(time.Hour)), accepted},
		{"a token of more than an hour", billing.Token(verifiertest.TTL(time.Hour + time.Second)), verifier.ReasonLifetime},
		{"a bound token without its certificate", billing.Token(verifiertest.BoundTo(certificate(t))), verifier.ReasonBound},
		{"an ID token", login.Token("user|77", verifiertest.Claim("nonce", "n")), verifier.ReasonType},
		{"a token that lacks a claim", billing.OnlineToken(verifiertest.Claim("jti", nil)), verifier.ReasonClaims},
		{"an offline token of a disabled client", disabled.Token(), verifier.ReasonIssuer},
		{"an online token of a disabled client", disabled.OnlineToken(), verifier.ReasonClient},
		{"an online token from before the client was disabled", online, verifier.ReasonClient},
		{"a token from before its key was revoked", early, verifier.ReasonKeyState},
		{"a token from after its key was revoked", leaked.Token(), verifier.ReasonKeyState},
		{"an online token of a client whose key was revoked", leaked.OnlineToken(), accepted},
		{"a revoked token", revoked, verifier.ReasonRevoked},
		{"a revoked token without jti", noID, verifier.ReasonRevoked},
		{"another kit's token", newKit(t).Client("billing").Token(), verifier.ReasonKey},
	} {
		t.Run(test.name, func(t *testing.T) { expect(t, kit.Verifier(), test.token, test.want) })
	}
}

func TestATokenSaysWhatItWasToldTo(t *testing.T) {
	kit := newKit(t)
	billing := kit.Client("billing", verifiertest.Scope("orders:read", "orders:write"))
	login := kit.External("login", verifiertest.Scope("profile orders:read"))
	for _, test := range []struct {
		name, token, subject, scope string
		client                      events.Name
	}{
		{"offline, with all that the record grants", billing.Token(), "billing", "orders:read orders:write", "billing"},
		{"online, with all that the record grants", billing.OnlineToken(), "billing", "orders:read orders:write", "billing"},
		{"external, with all that the record grants", login.Token("user|77"), "user|77", "orders:read profile", ""},
		{"of less scope", billing.Token(verifiertest.Scope("orders:read")), "billing", "orders:read", "billing"},
		{"of more scope than the record grants", billing.OnlineToken(verifiertest.Scope("orders:read", "admin")), "billing", "orders:read", "billing"},
		{"of no scope", billing.Token(verifiertest.Scope()), "billing", "", "billing"},
		{"of a client without scope", kit.Client("poor").OnlineToken(), "poor", "", "poor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := expect(t, kit.Verifier(), test.token, accepted)
			if token == nil || token.Subject != test.subject || token.Scope.String() != test.scope || token.Client != test.client || token.ID == "" {
				t.Fatalf("accepted as %+v", token)
			}
			if life := token.Expires.Sub(token.IssuedAt); life != mint.DefaultTTL {
				t.Errorf("it lives for %s", life)
			}
		})
	}
	token := expect(t, kit.Verifier(), login.Token("user|77", verifiertest.Claim("roles", []string{"clerk"})), accepted)
	var claims struct{ Roles []string }
	if err := json.Unmarshal(token.Claims(), &claims); err != nil || len(claims.Roles) != 1 || claims.Roles[0] != "clerk" {
		t.Errorf("roles are %v (%v)", claims.Roles, err)
	}
}

func TestABoundTokenIsGoodWithItsCertificate(t *testing.T) {
	kit := newKit(t)
	cert := certificate(t)
	for name, token := range map[string]string{
		"offline": kit.Client("billing").Token(verifiertest.BoundTo(cert)), "online": kit.Client("shop").OnlineToken(verifiertest.BoundTo(cert)),
	} {
		if _, err := kit.Verifier().VerifyRequest(token, verifier.Request{Confirm: verifier.ByCertificate(cert)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the kit mints looks like what package mint does: the same header, the same claims.
func TestAnOfflineTokenHasTheFormOfAMintedOne(t *testing.T) {
	kit := newKit(t)
	billing := kit.Client("billing", verifiertest.Scope("orders:read"))
	minter, err := mint.FromAccessKey(billing.AccessKey(), verifiertest.PlatformURL)
	if err != nil {
		t.Fatal(err)
	}
	minted, err := minter.Token(mint.Request{Audience: []string{orders}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, kit.Verifier(), minted, accepted)
	want, got := parts(t, minted), parts(t, billing.Token())
	for _, differs := range []string{"iat", "exp", "jti"} {
		if want[differs] == nil || got[differs] == nil {
			t.Errorf("%s: %v and %v", differs, want[differs], got[differs])
		}
		delete(want, differs)
		delete(got, differs)
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("minted %v\nkit    %v", want, got)
	}
}

// parts are a token's claims, with its header as one of them.
func parts(t *testing.T, token string) map[string]any {
	t.Helper()
	parsed, err := jws.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(parsed.Payload(), &claims); err != nil {
		t.Fatal(err)
	}
	claims["header"] = parsed.Header
	return claims
}

func TestTheClockGoesForwardAndTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		billing := kit.Client("billing")
		now, later := billing.Token(), billing.Token(verifiertest.NotYetValid())
		if !kit.Now().Equal(time.Now()) {
			t.Errorf("it begins at %s, and it is %s", kit.Now(), time.Now())
		}
		expect(t, kit.Verifier(), now, accepted)
		kit.Advance(30 * time.Minute)
		expect(t, kit.Verifier(), now, verifier.ReasonExpired)
		expect(t, kit.Verifier(), later, verifier.ReasonTooEarly)
		time.Sleep(30 * time.Minute) // of the bubble: the machine's clock moves it, too
		expect(t, kit.Verifier(), later, accepted)
		kit.Advance(10 * 365 * 24 * time.Hour)
		expect(t, kit.Verifier(), billing.OnlineToken(), accepted)
	})
	noon := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	kit := verifiertest.New(t, verifier.Config{Now: func() time.Time { return noon }})
	kit.Advance(time.Minute)
	if token := expect(t, kit.Verifier(), kit.Client("billing").Token(), accepted); !token.IssuedAt.Equal(noon.Add(time.Minute)) {
		t.Errorf("issued at %s", token.IssuedAt)
	}
}

func TestAStaleVerifierDecidesNothingUntilItIsFreshAgain(t *testing.T) {
	for name, limit := range map[string]time.Duration{"an hour": 0, "ten days": 10 * 24 * time.Hour} {
		kit := verifiertest.New(t, verifier.Config{MaxStaleness: limit, Now: func() time.Time { return time.Unix(1_790_000_000, 0) }})
		billing := kit.Client("billing")
		kit.GoStale()
		kit.RevokeToken(billing.Token())
		_, err := kit.Verifier().Verify(billing.Token())
		if status := kit.Verifier().Status(); !errors.Is(err, verifier.ErrUndecided) || !status.Stale || !status.Confirmed {
			t.Errorf("with a limit of %s: %v, %+v", name, err, status)
		}
		kit.GoFresh()
		expect(t, kit.Verifier(), billing.Token(), accepted)
	}
	kit := verifiertest.New(t, verifier.Config{MaxStaleness: -1})
	kit.GoStale()
	expect(t, kit.Verifier(), kit.Client("billing").Token(), accepted)
	expect(t, kit.Verifier(), kit.Stranger("mallory").Token(), verifier.ReasonBehind)
}

func TestSeveralServicesFollowOneInstallation(t *testing.T) {
	kit := newKit(t)
	other := kit.VerifierFor(elsewhere)
	user := kit.External("login", verifiertest.Audience(orders, elsewhere)).Token("user|77", verifiertest.Audience(orders, elsewhere))
	expect(t, kit.Verifier(), user, accepted)
	expect(t, other, user, accepted)
	expect(t, other, kit.Client("billing").Token(), verifier.ReasonAudience)
	kit.RevokeToken(user)
	expect(t, other, user, verifier.ReasonRevoked)
}

// The two rows of the table about audiences notice it, because the record refuses neither of the tokens.
func TestAServiceOfTheWrongAudienceFailsTheRecommendedTable(t *testing.T) {
	for _, configured := range []string{orders, elsewhere} {
		kit := verifiertest.New(t, verifier.Config{Audience: configured})
		billing := kit.Client("billing", verifiertest.Audience(orders, elsewhere))
		good, other := accepted, verifier.ReasonAudience
		if configured != orders {
			good, other = other, good
		}
		expect(t, kit.Verifier(), billing.Token(verifiertest.Audience(orders)), good)
		expect(t, kit.Verifier(), billing.Token(verifiertest.Audience(elsewhere)), other)
	}
}

func TestTheAccountsAudienceIsOneThatAServiceMayAccept(t *testing.T) {
	kit := verifiertest.New(t, verifier.Config{AccountAudience: true})
	token := kit.Client("billing").Token(verifiertest.Audience(events.AccountAudience(verifiertest.Account)))
	expect(t, kit.Verifier(), token, accepted)
}

// recorder is a test that fails.
type recorder struct{ message string }

func (r *recorder) Helper() {}
func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestMisuseFailsTheTestAndSaysWhatToDo(t *testing.T) {
	good := verifier.Config{Audience: orders, Externals: []events.Name{"login"}}
	for _, test := range []struct {
		name string
		cfg  verifier.Config
		do   func(*verifiertest.Kit)
		want string
	}{
		{"a bad configuration", verifier.Config{Leeway: time.Hour}, nil, "leeway 1h0m0s"},
		{"no audience of another service", good, func(k *verifiertest.Kit) { k.VerifierFor("") }, "no audience"},
		{"one name for two clients", good, func(k *verifiertest.Kit) { k.Client("a"); k.Client("a") }, "register a: a is registered already"},
		{"a client with an issuer's name", good, func(k *verifiertest.Kit) { k.External("login"); k.Client("login") }, "registered already"},
		{"a client called platform", good, func(k *verifiertest.Kit) { k.Client("platform") }, "register platform"},
		{"a name that is none", good, func(k *verifiertest.Kit) { k.Client("a.b") }, `name "a.b" is not`},
		{"a scope that is none", good, func(k *verifiertest.Kit) { k.Client("a", verifiertest.Scope("a", "")) }, "scope is not a list"},
		{"a client for no service", good, func(k *verifiertest.Kit) { k.Client("a", verifiertest.Audience()) }, "needs a non-empty aud"},
		{"an external issuer that would not be accepted", good, func(k *verifiertest.Kit) { k.External("other") }, "name it in the Externals"},
		{"a token without a life", good, func(k *verifiertest.Kit) { k.Client("a").Token(verifiertest.TTL(0)) }, "make a token of a: a life of 0s"},
		{"a token of half a second", good, func(k *verifiertest.Kit) { k.Client("a").Token(verifiertest.TTL(time.Second / 2)) }, "not whole seconds"},
		{"a token for nobody", good, func(k *verifiertest.Kit) { k.Client("a").Token(verifiertest.Audience()) }, "aud"},
		{"a claim that is not JSON", good, func(k *verifiertest.Kit) { k.Client("a").Token(verifiertest.Claim("f", func() {})) }, "unsupported type"},
		{"a claim that no token may have so", good, func(k *verifiertest.Kit) { k.Client("a").Token(verifiertest.Claim("exp", "soon")) }, "exp"},
		{"a token bound to nothing", good, func(k *verifiertest.Kit) { k.Client("a").Token(verifiertest.BoundTo(nil)) }, "no certificate"},
		{"to revoke what is no token", good, func(k *verifiertest.Kit) { k.RevokeToken("Bearer x") }, "revoke a token"},
		{"to revoke a stranger's key", good, func(k *verifiertest.Kit) { k.RevokeKey(k.Stranger("mallory")) }, "revoke the key of mallory: it was never registered"},
		{"to revoke a stranger's key by a client's name", good, func(k *verifiertest.Kit) { k.Client("billing"); k.RevokeKey(k.Stranger("billing")) }, "never registered"},
		{"to disable a stranger", good, func(k *verifiertest.Kit) { k.Disable(k.Stranger("mallory")) }, "disable mallory: mallory is not registered"},
		{"to put the clock back", good, func(k *verifiertest.Kit) { k.Advance(-1) }, "start earlier"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{}
			done := make(chan struct{})
			go func() {
				defer close(done)
				kit := verifiertest.New(r, test.cfg)
				test.do(kit)
			}()
			<-done
			if !strings.HasPrefix(r.message, "verifiertest: ") || !strings.Contains(r.message, test.want) {
				t.Errorf("it says %q, want %q in it", r.message, test.want)
			}
		})
	}
}

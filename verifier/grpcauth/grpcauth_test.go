package grpcauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/grpcauth"
	"github.com/keyherald/keyherald/verifier/verifiertest"
)

func TestV23_TheCallerLearnsOnlyThatItIsRefusedAndTheLogWhy(t *testing.T) {
	w := newWorld(t)
	good := w.billing.Token()
	other := w.billing.OnlineToken()
	revoked := w.billing.Token()
	w.RevokeToken(revoked)
	leaked := w.Client("leaked", verifiertest.Scope("orders:read"))
	early := leaked.Token()
	w.RevokeKey(leaked)
	disabled := w.Client("disabled", verifiertest.Scope("orders:read"))
	w.Disable(disabled)
	bearer := func(token string) []string { return []string{"authorization", "Bearer " + token} }
	for _, test := range []struct {
		name     string
		metadata []string
		code     codes.Code
		reason   verifier.Reason
	}{
		{"an offline token", bearer(good), codes.OK, ""},
		{"an online token", bearer(other), codes.OK, ""},
		{"a scheme in lower case", []string{"authorization", "bearer " + good}, codes.OK, ""},
		{"a scheme in upper case", []string{"authorization", "BEARER " + good}, codes.OK, ""},
		{"two spaces after the scheme", []string{"authorization", "Bearer  " + good}, codes.OK, ""},
		{"a name of metadata in upper case", []string{"Authorization", "Bearer " + good}, codes.OK, ""},

		{"no metadata", nil, codes.Unauthenticated, grpcauth.ReasonNoToken},
		{"other metadata", []string{"token", good}, codes.Unauthenticated, grpcauth.ReasonNoToken},
		{"an empty value", []string{"authorization", ""}, codes.Unauthenticated, grpcauth.ReasonNoToken},
		{"a token without a scheme", []string{"authorization", good}, codes.Unauthenticated, grpcauth.ReasonScheme},
		{"another scheme", []string{"authorization", "Basic " + good}, codes.Unauthenticated, grpcauth.ReasonScheme},
		{"a scheme that only begins like it", []string{"authorization", "Bearers " + good}, codes.Unauthenticated, grpcauth.ReasonScheme},
		{"the same token twice", []string{"authorization", "Bearer " + good, "authorization", "Bearer " + good}, codes.Unauthenticated, grpcauth.ReasonRequest},
		{"a good token and an empty value", []string{"authorization", "Bearer " + good, "authorization", ""}, codes.Unauthenticated, grpcauth.ReasonRequest},
		{"two tokens in one value", bearer(good + ", Bearer " + other), codes.Unauthenticated, verifier.ReasonMalformed},
		{"a scheme and no token", bearer(""), codes.Unauthenticated, verifier.ReasonMalformed},
		{"a token with something after it", bearer(good + " x"), codes.Unauthenticated, verifier.ReasonMalformed},
		{"9 KiB", bearer(strings.Repeat("a", 9<<10)), codes.Unauthenticated, verifier.ReasonMalformed},
		{"1 MiB", bearer(strings.Repeat("a", 1<<20)), codes.Unauthenticated, verifier.ReasonMalformed},
		{"1 MiB of dots", bearer(strings.Repeat(".", 1<<20)), codes.Unauthenticated, verifier.ReasonMalformed},
		{"a good token and 1 MiB of other metadata", append(bearer(good), "x", strings.Repeat("a", 1<<20)), codes.OK, ""},

		{"an expired token", bearer(w.billing.Token(verifiertest.Expired())), codes.Unauthenticated, verifier.ReasonExpired},
		{"a token that begins later", bearer(w.billing.Token(verifiertest.NotYetValid())), codes.Unauthenticated, verifier.ReasonTooEarly},
		{"a token for another service", bearer(w.billing.Token(verifiertest.Audience("https://elsewhere"))), codes.Unauthenticated, verifier.ReasonAudience},
		{"a stranger's token", bearer(w.Stranger("mallory").Token()), codes.Unauthenticated, verifier.ReasonIssuer},
		{"a token whose key was revoked", bearer(early), codes.Unauthenticated, verifier.ReasonKeyState},
		{"a revoked token", bearer(revoked), codes.Unauthenticated, verifier.ReasonRevoked},
		{"a disabled client's token", bearer(disabled.Token()), codes.Unauthenticated, verifier.ReasonIssuer},
		{"a signature that was changed", bearer(good[:len(good)-4] + "AAAA"), codes.Unauthenticated, verifier.ReasonSignature},
		{"a token that lacks the scope", bearer(w.billing.Token(verifiertest.Scope("orders:write"))), codes.PermissionDenied, grpcauth.ReasonScope},
		{"a token of no scope", bearer(w.billing.Token(verifiertest.Scope())), codes.PermissionDenied, grpcauth.ReasonScope},
		{"a scope that the client's record does not grant", bearer(w.Client("poor").Token(verifiertest.Scope("orders:read"))), codes.PermissionDenied, grpcauth.ReasonScope},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.service.caller.Store(nil)
			err := w.call(withMetadata(t, test.metadata...))
			hasCode(t, err, test.code)
			if caller := w.service.caller.Load(); (caller != nil) != (err == nil) || caller != nil && caller.Client != "billing" {
				t.Errorf("the method was called by %+v", caller)
			}
			var want []verifier.Reason
			if test.reason != "" {
				want = []verifier.Reason{test.reason}
			}
			if got := w.refused.take(); !slices.Equal(got, want) {
				t.Errorf("refused for %q, want %q", got, want)
			}
		})
	}
	for _, part := range strings.Split(good+"."+other, ".") {
		if strings.Contains(w.log.String(), part) {
			t.Errorf("a part of a token is in the log: %s", part)
		}
	}
}

func TestAccessIsByMethodElseByServiceElseNobodys(t *testing.T) {
	read := grpcauth.Require("orders:read")
	for _, test := range []struct {
		name            string
		methods         map[string]grpcauth.Access
		token, anyToken codes.Code // of a call with a token of orders:read, and with one of no scope
		none            codes.Code // of one without
	}{
		{"the method is named", map[string]grpcauth.Access{check: read}, codes.OK, codes.PermissionDenied, codes.Unauthenticated},
		{"its service is named", map[string]grpcauth.Access{"/grpc.health.v1.Health/": read}, codes.OK, codes.PermissionDenied, codes.Unauthenticated},
		{"the service is open, but not the method", map[string]grpcauth.Access{"/grpc.health.v1.Health/": grpcauth.Open(), check: read},
			codes.OK, codes.PermissionDenied, codes.Unauthenticated},
		{"the method is open, but not the service", map[string]grpcauth.Access{"/grpc.health.v1.Health/": read, check: grpcauth.Open()}, codes.OK, codes.OK, codes.OK},
		{"any token will do", map[string]grpcauth.Access{check: grpcauth.Require()}, codes.OK, codes.OK, codes.Unauthenticated},
		{"two scopes are needed", map[string]grpcauth.Access{check: grpcauth.Require("orders:read", "orders:write")},
			codes.PermissionDenied, codes.PermissionDenied, codes.Unauthenticated},
		{"only another method is named", map[string]grpcauth.Access{list: read}, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
		{"only another service is named", map[string]grpcauth.Access{"/grpc.health.v1.Healt/": grpcauth.Open(), "/grpc.health.v1.Health2/": grpcauth.Open()},
			codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
		{"case matters", map[string]grpcauth.Access{strings.ToLower(check): grpcauth.Open()}, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
		{"the method is named, for nobody", map[string]grpcauth.Access{"/grpc.health.v1.Health/": grpcauth.Open(), check: {}},
			codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, func(cfg *grpcauth.Config) { cfg.Methods = test.methods })
			hasCode(t, w.call(withToken(t, w.billing.Token(verifiertest.Scope("orders:read")))), test.token)
			hasCode(t, w.call(withToken(t, w.billing.Token(verifiertest.Scope()))), test.anyToken)
			hasCode(t, w.call(withMetadata(t)), test.none)
		})
	}
}

func TestAnOpenMethodLooksAtNoToken(t *testing.T) {
	w := newWorld(t, func(cfg *grpcauth.Config) { cfg.Methods[check], cfg.Methods[watch] = grpcauth.Open(), grpcauth.Open() })
	hasCode(t, w.call(withToken(t, w.billing.Token(verifiertest.Expired()))), codes.OK)
	if w.service.caller.Load() != nil {
		t.Error("somebody has called")
	}
	stream := w.watch(t, "x")
	w.service.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	if _, err := stream.Recv(); err != nil {
		t.Error(err)
	}
}

func TestATokenThatCannotBeJudgedIsForLater(t *testing.T) {
	w := newWorld(t)
	token := w.billing.Token()
	w.GoStale()
	err := w.call(withToken(t, token))
	hasCode(t, err, codes.Unavailable)
	details := status.Convert(err).Details()
	if len(details) != 1 {
		t.Fatalf("details are %v", details)
	}
	if retry, ok := details[0].(*errdetails.RetryInfo); !ok || retry.RetryDelay.AsDuration() != 5*time.Second {
		t.Errorf("details are %v", details)
	}
	w.GoFresh()
	hasCode(t, w.call(withToken(t, token)), codes.OK)
}

func TestTheAudienceOfAServiceTakesThePlaceOfTheVerifiers(t *testing.T) {
	w := newWorld(t, func(cfg *grpcauth.Config) { cfg.Audience = "https://elsewhere" })
	hasCode(t, w.call(withToken(t, w.billing.Token())), codes.Unauthenticated)
	elsewhere := w.Client("shop", verifiertest.Scope("orders:read"), verifiertest.Audience("https://elsewhere"))
	hasCode(t, w.call(withToken(t, elsewhere.Token(verifiertest.Audience("https://elsewhere")))), codes.OK)
}

func TestAnErrorOfAnotherVerifierRefuses(t *testing.T) {
	w := newWorld(t, func(cfg *grpcauth.Config) { cfg.Verifier = brokenVerifier{} })
	hasCode(t, w.call(withToken(t, "x")), codes.Unauthenticated)
	if e := w.refused.errors[0]; e.Reason != "unknown" || e.Error() != "out of order" || !errors.Is(e, errBroken) {
		t.Errorf("it was refused for %q: %v", e.Reason, e)
	}
}

type brokenVerifier struct{}

var errBroken = errors.New("out of order")

func (brokenVerifier) VerifyRequest(string, verifier.Request) (*verifier.Token, error) {
	return nil, errBroken
}

func TestALineInTheLogSaysWhoWasRefusedWhatAndWhy(t *testing.T) {
	w := newWorld(t)
	hasCode(t, w.call(withMetadata(t)), codes.Unauthenticated)
	if w.log.String() != "" {
		t.Errorf("a call without a token is logged: %s", w.log.String())
	}
	hasCode(t, w.call(withToken(t, w.billing.Token(verifiertest.Expired()))), codes.Unauthenticated)
	var line map[string]any
	if err := json.Unmarshal([]byte(w.log.String()), &line); err != nil {
		t.Fatal(err)
	}
	address, _ := line["address"].(string)
	delete(line, "address")
	want := map[string]any{
		"level": "info", "code": "Unauthenticated", "reason": "expired", "error": "the token has expired", "method": check, "message": "call refused",
	}
	if !strings.HasPrefix(address, "127.0.0.1:") || len(line) != len(want) {
		t.Errorf("logged for %q: %v", address, line)
	}
	for name, value := range want {
		if line[name] != value {
			t.Errorf("%s is %v, want %v", name, line[name], value)
		}
	}
}

// The limit is by the clock, so it is tested where that can be moved: without a connection, by calling the interceptor.
func TestWhoSendsGarbageDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &syncBuffer{}
		var told refusals
		guard, err := grpcauth.New(grpcauth.Config{
			Verifier: verifiertest.New(t, verifier.Config{}).Verifier(), Methods: orderMethods(), Refused: told.add,
			Logger: zerolog.New(log).Level(zerolog.InfoLevel),
		})
		if err != nil {
			t.Fatal(err)
		}
		method := "/" + strings.Repeat("x", 64<<10) + "/"
		garbage := func() { hasCode(t, callUnary(guard, method), codes.PermissionDenied) }
		for range 200 {
			hasCode(t, callUnary(guard, check, ""), codes.Unauthenticated) // without a token: not logged, and leaves room for the rest
		}
		for range 200 {
			garbage()
		}
		time.Sleep(time.Minute)
		garbage()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 51 || !strings.Contains(lines[50], `"left_out":150`) || strings.Contains(lines[49], "left_out") {
			t.Errorf("%d lines, the last is %s", len(lines), lines[len(lines)-1])
		}
		if len(lines[0]) > 1000 {
			t.Errorf("a line has %d bytes", len(lines[0]))
		}
		if got := len(told.take()); got != 401 {
			t.Errorf("%d of 401 refusals were told", got)
		}
	})
}

// What grpc's own client does not send, another may.
func TestMetadataThatNoClientShouldSendIsRefused(t *testing.T) {
	w := newWorld(t)
	good := w.billing.Token()
	for name, values := range map[string][]string{
		"a tab after the scheme":       {"Bearer\t" + good},
		"a space before the scheme":    {" Bearer " + good},
		"a line break after the token": {"Bearer " + good + "\n"},
		"a NUL after the token":        {"Bearer " + good + "\x00"},
		"a letter that looks alike":    {"Вearer " + good}, // Cyrillic
		"invalid UTF-8":                {"Bearer \xff" + good},
		"only spaces":                  {"   "},
		"only the scheme":              {"Bearer"},
		"ten thousand values":          slices.Repeat([]string{"Bearer " + good}, 10_000),
	} {
		t.Run(name, func(t *testing.T) { hasCode(t, callUnary(w.guard, check, values...), codes.Unauthenticated) })
	}
	hasCode(t, callUnary(w.guard, check, "Bearer "+good), codes.OK)
	for _, method := range []string{"", "/", "Check", "//", check + "/", strings.Repeat("/", 1<<20)} {
		hasCode(t, callUnary(w.guard, method, "Bearer "+good), codes.PermissionDenied)
	}
}

// callUnary calls the interceptor without a server.
func callUnary(guard *grpcauth.Guard, method string, authorization ...string) error {
	ctx := metadata.NewIncomingContext(context.Background(), metadata.MD{"authorization": authorization})
	_, err := guard.UnaryServerInterceptor(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, nil })
	return err
}

func TestAConfigurationThatProtectsNothingIsAnError(t *testing.T) {
	v := verifiertest.New(t, verifier.Config{}).Verifier()
	named := func(method string, access grpcauth.Access) map[string]grpcauth.Access {
		return map[string]grpcauth.Access{method: access}
	}
	for _, test := range []struct {
		name string
		cfg  grpcauth.Config
		want string
	}{
		{"no verifier", grpcauth.Config{Methods: orderMethods()}, "no verifier"},
		{"no methods", grpcauth.Config{Verifier: v}, "no methods"},
		{"a method without a slash before it", grpcauth.Config{Verifier: v, Methods: named("orders.Orders/List", grpcauth.Open())}, "full name"},
		{"a method without a service", grpcauth.Config{Verifier: v, Methods: named("/List", grpcauth.Open())}, "full name"},
		{"a method of no service", grpcauth.Config{Verifier: v, Methods: named("//List", grpcauth.Open())}, "full name"},
		{"a path that does not begin with a slash", grpcauth.Config{Verifier: v, Methods: named("orders/Orders/List", grpcauth.Open())}, "full name"},
		{"everything", grpcauth.Config{Verifier: v, Methods: named("/", grpcauth.Open())}, "full name"},
		{"nothing", grpcauth.Config{Verifier: v, Methods: named("", grpcauth.Open())}, "full name"},
		{"a pattern", grpcauth.Config{Verifier: v, Methods: named("/orders.Orders/*", grpcauth.Open())}, "full name"},
		{"a pattern of services", grpcauth.Config{Verifier: v, Methods: named("/*/", grpcauth.Open())}, "full name"},
		{"a method with a space", grpcauth.Config{Verifier: v, Methods: named("/orders.Orders/List ", grpcauth.Open())}, "full name"},
		{"a path below a method", grpcauth.Config{Verifier: v, Methods: named("/orders.Orders/List/x", grpcauth.Open())}, "full name"},
		{"an empty scope", grpcauth.Config{Verifier: v, Methods: named(check, grpcauth.Require(""))}, `scope ""`},
		{"two scopes in one", grpcauth.Config{Verifier: v, Methods: named(check, grpcauth.Require("orders:read orders:write"))}, `scope "orders:read orders:write"`},
		{"a scope that is none", grpcauth.Config{Verifier: v, Methods: named(check, grpcauth.Require("é"))}, "scope"},
	} {
		t.Run(test.name, func(t *testing.T) {
			guard, err := grpcauth.New(test.cfg)
			if guard != nil || err == nil || !strings.HasPrefix(err.Error(), "grpcauth: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("it says %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestWhoChangesTheMapLaterChangesNothing(t *testing.T) {
	methods := orderMethods()
	w := newWorld(t, func(cfg *grpcauth.Config) { cfg.Methods = methods })
	methods[check] = grpcauth.Open()
	hasCode(t, w.call(withMetadata(t)), codes.Unauthenticated)
}

func TestACallThatNoGuardHasSeenHasNoToken(t *testing.T) {
	if token, ok := grpcauth.FromContext(context.Background()); token != nil || ok {
		t.Errorf("there is %v", token)
	}
}

package verifiertest_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/verifiertest"
)

// listOrders is a handler of the service that is to be tested.
func listOrders(v *verifier.Verifier) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		token, err := v.Verify(bearer)
		switch {
		case errors.Is(err, verifier.ErrUndecided):
			w.Header().Set("Retry-After", "1")
			http.Error(w, "try again", http.StatusServiceUnavailable)
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, "a valid token is needed", http.StatusUnauthorized)
		case !token.Scope.Has("orders:read"):
			http.Error(w, "the scope orders:read is needed", http.StatusForbidden)
		default:
			fmt.Fprintf(w, "the orders, for %s", token.Client)
		}
	})
}

// The body of a test of a handler. In yours, t is what the test function is given, and instead of printing there are comparisons.
func Example() {
	var t exampleT
	const orders, stock = "https://orders.example.com", "https://stock.example.com"
	kit := verifiertest.New(t, verifier.Config{Audience: orders})
	handler := listOrders(kit.Verifier())
	// Both services, so that it is not the client's record that refuses the token for the other.
	billing := kit.Client("billing", verifiertest.Scope("orders:read", "orders:list"), verifiertest.Audience(orders, stock))

	get := func(what, token string) {
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Printf("%d %s: %s\n", w.Code, what, strings.TrimSpace(w.Body.String()))
	}
	get("good", billing.Token(verifiertest.Audience(orders)))
	get("of the token service", billing.OnlineToken())
	get("less scope", billing.Token(verifiertest.Scope("orders:list")))
	get("for another service", billing.Token(verifiertest.Audience(stock)))
	get("expired", billing.Token(verifiertest.Expired()))
	get("nobody's", kit.Stranger("mallory").Token())

	token := billing.Token()
	kit.GoStale()
	get("contact was lost", token)
	kit.GoFresh()
	get("contact is back", token)
	kit.RevokeKey(billing)
	get("the key was revoked", token)

	// Output:
	// 200 good: the orders, for billing
	// 200 of the token service: the orders, for billing
	// 403 less scope: the scope orders:read is needed
	// 401 for another service: a valid token is needed
	// 401 expired: a valid token is needed
	// 401 nobody's: a valid token is needed
	// 503 contact was lost: try again
	// 200 contact is back: the orders, for billing
	// 401 the key was revoked: a valid token is needed
}

// exampleT is here because an example has no t.
type exampleT struct{}

func (exampleT) Helper()                           {}
func (exampleT) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }

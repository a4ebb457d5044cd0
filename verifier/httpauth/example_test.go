package httpauth_test

import (
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/keyherald/keyherald/verifier/httpauth"
)

func ExampleRequire() {
	v := newVerifier(newFeed()) // verifier.Connect in a program

	mux := http.NewServeMux()
	mux.Handle("GET /invoices", httpauth.Require(v, "billing:read")(hello))
	mux.Handle("POST /invoices", httpauth.Require(v, "billing:write")(hello))

	r := get("/invoices", "Authorization", "Bearer "+mint(nil)) // with billing:read
	fmt.Println(ask(mux, r).body)
	r.Method = http.MethodPost
	fmt.Println(ask(mux, r).challenge)
	// Output:
	// hello orders
	// Bearer realm="keyherald", error="insufficient_scope", scope="billing:write"
}

func ExampleRequire_chi() {
	v := newVerifier(newFeed())

	router := chi.NewRouter()
	router.Use(httpauth.Require(v))
	router.Route("/invoices", func(router chi.Router) {
		router.With(httpauth.Require(v, "billing:read")).Get("/{number}", func(w http.ResponseWriter, r *http.Request) {
			token, _ := httpauth.FromContext(r.Context())
			fmt.Fprintf(w, "invoice %s for %s", chi.URLParam(r, "number"), token.Client)
		})
	})

	fmt.Println(ask(router, get("/invoices/17", "Authorization", "Bearer "+mint(nil))).body)
	fmt.Println(ask(router, get("/invoices/17")).status)
	// Output:
	// invoice 17 for orders
	// 401
}

// Package interop shows that unmodified clients of others work with a real keyherald serve. It is a module of its own, so that
// nothing that uses keyherald has them among its dependencies, and it has only tests:
//
//   - golang.org/x/oauth2/clientcredentials gets tokens with an API key, in the header and in the form;
//   - github.com/zitadel/oidc gets tokens by the grant jwt-bearer, with keys of every kind;
//   - github.com/coreos/go-oidc verifies our tokens through discovery, while issuer nodes come, go and crash, each with its own key, and
//     refuses none;
//   - a workload gets tokens with the one that its platform, which signs with go-jose, keeps in a file;
//   - issuer/mint, which is ours, does its part against the real token service, too.
//
// The tests build the program and run it on free loopback ports. Run them with
//
//	go -C issuer/interop test ./...
package interop

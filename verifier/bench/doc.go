// Package bench compares package verifier with other token libraries for Go. It is a module of its own, so that nothing that embeds
// a verifier has them among its dependencies, and it has only tests:
//
//   - the differential test verifies tens of thousands of mutated tokens with all of them: what we accept and strict go-jose refuses
//     is a bug of ours, whatever the reason;
//   - the benchmark verifies the same tokens with all of them, in turns, and reports how long ours takes compared to theirs.
//
// Run it with
//
//	go -C verifier/bench test -v ./...
//	go -C verifier/bench test -run '^$' -bench . ./...
package bench

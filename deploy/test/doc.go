// Package deploy tests what is beside it: the Kubernetes manifests and the alert rules. It is a module of its own, so that nothing that only
// this needs is in the go.mod of keyherald.
package deploy

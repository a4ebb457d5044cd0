package interop

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/issuer/mint"
)

// TestAWorkloadGetsTokensWithTheTokenThatItsPlatformKeepsInAFile is what a pod in Kubernetes does: its service account's token, signed here by
// go-jose, is in a file and is replaced there.
func TestAWorkloadGetsTokensWithTheTokenThatItsPlatformKeepsInAFile(t *testing.T) {
	const iss, sub = "https://kubernetes.example", "system:serviceaccount:shop:orders"
	s := startSystem(t, "")
	v := s.verifier()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.cli("issuer", "add", "--no-discovery", "cluster", "--iss", iss, "--use", "assertion")
	s.putKey("cluster", "c1", public)
	s.cli("federation", "add", "orders", "--external", "cluster", "--sub", sub, "--aud", s.issuer)

	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: "c1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	project := func(sub string) {
		now := time.Now()
		text, err := jwt.Signed(signer).Claims(jwt.Claims{
			Issuer: iss, Subject: sub, Audience: jwt.Audience{s.issuer}, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
		}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	requester, err := mint.NewRequester(mint.RequesterConfig{Issuer: s.issuer, Credential: mint.FederatedFile("orders", file)})
	if err != nil {
		t.Fatal(err)
	}
	project(sub)
	token, err := requester.Token(t.Context(), mint.Request{Audience: []string{billing}})
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err := v.Verify(token.AccessToken); err != nil || accepted.Client != "orders" {
		t.Errorf("accepted %+v, error %v", accepted, err)
	}
	project("system:serviceaccount:shop:mallory")
	if _, err := requester.Token(t.Context(), mint.Request{}); err == nil {
		t.Error("a token for a workload that is not the client")
	}
	project(sub)
	out := s.cli("token", "request", "--issuer", s.issuer, "--client", "orders", "--assertion-file", file)
	if accepted, err := v.Verify(out); err != nil || accepted.Client != "orders" {
		t.Errorf("by command line: accepted %+v, error %v", accepted, err)
	}
}

// putKey registers the key of an external issuer, as what refreshes them does.
func (s *system) putKey(issuer events.Name, kid events.KeyID, public ed25519.PublicKey) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Config{URL: "nats://" + s.nats, SeedFile: filepath.Join(s.data, "nats", "operator.nk")})
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	value, err := (&events.Key{Algorithm: events.EdDSA, Public: public}).Encode(kid)
	if err == nil {
		_, err = conn.Put(ctx, bus.Put{Bucket: bus.Keys, Name: events.KeyRecord(issuer, kid).String(), Value: value})
	}
	if err != nil {
		s.t.Fatal(fmt.Errorf("key of %s: %w", issuer, err))
	}
}

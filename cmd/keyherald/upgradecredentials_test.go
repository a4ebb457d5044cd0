package main

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier/jws"
)

// mint mints a token with an access key of the archive.
func (a *archive) mint(key string) string {
	a.t.Helper()
	token, errs, err := runCLI("", "token", "mint", "--issuer", upgradeIssuer, "--key-file", a.file(key), "--audience", "https://billing")
	if err != nil {
		a.t.Fatal(errs)
	}
	return token
}

// credentialsCount uses every credential of the archive.
func (a *archive) credentialsCount() {
	a.t.Helper()
	for key, want := range map[string]string{
		"orders.active": "", "orders.retiring": "",
		"orders.pending": "not valid yet", "orders.expired": "not valid any more", "orders.revoked": "revoked", "orders.deleted": "no key with this kid", "stock.key": "disabled",
	} {
		_, errs, err := runCLI(a.mint(key), "token", "verify", "--audience", "https://billing", "--data", a.file("d"))
		if want == "" && err != nil || want != "" && (exitOf(err) != exitFailed || !strings.Contains(errs, want)) {
			a.t.Errorf("a token of %s: %v, want %q: %s", key, err, want, errs)
		}
	}
	federated := url.Values{"client_id": {"orders"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {a.vouch()}}
	for name, c := range map[string]struct {
		params url.Values
		cert   string
		status int
	}{
		"an API key":                    {url.Values{"client_secret": {a.read("orders.secret")}}, "", http.StatusOK},
		"an API key with an end":        {url.Values{"client_secret": {a.read("orders.secret2")}}, "", http.StatusOK},
		"a revoked API key":             {url.Values{"client_secret": {a.read("orders.secret.revoked")}}, "", http.StatusUnauthorized},
		"a certificate":                 {url.Values{"client_id": {"orders"}}, a.read("orders-tls.pem"), http.StatusOK},
		"the word of another issuer":    {federated, "", http.StatusOK},
		"another's certificate":         {url.Values{"client_id": {"stock"}}, a.read("orders-tls.pem"), http.StatusUnauthorized},
		"a name, which is not a secret": {url.Values{"client_id": {"orders"}}, "", http.StatusUnauthorized},
	} {
		c.params.Set("grant_type", "client_credentials")
		if status, body := a.request(http.MethodPost, "/oauth/token", c.params, map[string]string{"X-Client-Cert": url.PathEscape(c.cert)}); status != c.status {
			a.t.Errorf("%s: status %d, want %d: %s", name, status, c.status, body)
		}
	}
	admin, errs, err := runCLI("", "token", "mint", "--issuer", upgradeIssuer, "--key-file", a.file("d/admin.key"), "--account")
	if err != nil {
		a.t.Fatal(errs)
	}
	status, body := a.request(http.MethodGet, "/v1/clients/warehouse", nil, map[string]string{"Authorization": "Bearer " + strings.TrimSpace(admin)})
	if status != http.StatusOK || !strings.Contains(body, `"Warehouse"`) || !strings.Contains(body, `1.50`) {
		a.t.Errorf("the admin API: status %d, %s", status, body)
	}
}

// vouch makes an assertion of the archive's external issuer.
func (a *archive) vouch() string {
	a.t.Helper()
	block, _ := pem.Decode([]byte(a.read("builds.pem")))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		a.t.Fatal(err)
	}
	claims, err := json.Marshal(map[string]any{"iss": "https://builds.example", "sub": "job:orders:17", "aud": upgradeIssuer, "exp": time.Now().Add(time.Minute).Unix()})
	if err != nil {
		a.t.Fatal(err)
	}
	token, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: "b1"}, claims, key.(crypto.Signer))
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

func (a *archive) request(method, path string, params url.Values, header map[string]string) (int, string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, "http://"+a.httpAddr+path, strings.NewReader(params.Encode()))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "10.0.0.1")
	if params != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// snapshotCounts starts a gate with nothing but the archive's snapshot.
func (a *archive) snapshotCounts() {
	a.t.Helper()
	addr := eventstest.FreeAddress(a.t)
	gate := startProcess(a.t, "gate", "--audience", "https://billing", "--snapshot", a.file("snapshot"), "--max-staleness=-1s", "--listen", addr, "--nats", "nats://"+eventstest.FreeAddress(a.t))
	gate.waitReady(a.t, addr)
	for key, want := range map[string]int{
		"orders.active": http.StatusOK, "orders.retiring": http.StatusOK, "orders.revoked": http.StatusUnauthorized, "stock.key": http.StatusUnauthorized,
		"orders.expired": http.StatusUnauthorized, "orders.deleted": http.StatusServiceUnavailable, // it may be newer than the snapshot
	} {
		r, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, "http://"+addr+"/verify", nil)
		if err != nil {
			a.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(a.mint(key)))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			a.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			a.t.Errorf("from the snapshot: status %d for a token of %s, want %d\n%s", resp.StatusCode, key, want, gate.err.String())
		}
	}
}

// TestThisVersionWritesWhatANewerOneCanReadAgain changes records that a newer version has written: what it says of them, and this version does
// not understand, stays in them. That goes for every method of the registry: see TestUnknownMembersSurviveEveryChange there.
func TestThisVersionWritesWhatANewerOneCanReadAgain(t *testing.T) {
	const unknown = `{"b":[1.50,-0.0,123456789012345678901.0e-2],"a":{"":"\u00e9\/<&>","null":null},"B":[[],{}]}`
	eachArchive(t, func(t *testing.T, a *archive) {
		a.serve()
		for bucket, records := range map[string]map[string][][]string{
			"KEYS": {
				"issuer.newer": {{"client", "update", "newer", "--scope", "a"}, {"client", "disable", "newer"}, {"client", "enable", "newer"}},
				"key.newer.n1": {{"key", "rotate", "newer", "--overlap", "1h"}, {"key", "retire", "newer", "n1"}, {"key", "revoke", "newer", "n1"}},
			},
			"CLIENTS": {"newer": {
				{"secret", "add", "newer"}, {"cert", "add", "newer", a.file("orders-tls.pem")}, {"cert", "clear", "newer"}, {"cert", "subject", "newer", "--san-dns", "a"},
				{"federation", "add", "newer", "--external", "builds", "--sub", "a", "--aud", "b"}, {"federation", "remove", "newer", "--external", "builds", "--sub", "a", "--aud", "b"},
				{"client", "update", "newer", "--require-jti"},
			}},
		} {
			for record, commands := range records {
				want := strings.Count(a.nats("kv", "get", "--raw", bucket, record), unknown)
				for _, args := range commands {
					a.cli(args...)
				}
				if now := a.nats("kv", "get", "--raw", bucket, record); want == 0 || strings.Count(now, unknown) != want {
					t.Errorf("after %v, %s of %s is %s", commands, record, bucket, now)
				}
			}
		}
	})
}

// TestADirectoryOfANewerVersionIsLeftAlone: not even what a start usually tidies up is touched.
func TestADirectoryOfANewerVersionIsLeftAlone(t *testing.T) {
	eachArchive(t, func(t *testing.T, a *archive) {
		for name, text := range map[string]string{"VERSION": "2\n", ".new-1": "half"} {
			if err := os.WriteFile(filepath.Join(a.file("d/nats"), name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := a.files()
		_, errs, err := runCLI("", "serve", "--data", a.file("d"), "--http", a.httpAddr, "--nats-listen", a.natsAddr, "--issuer", upgradeIssuer)
		if exitOf(err) != exitFailed || !strings.Contains(errs, "made by a newer keyherald") {
			t.Fatalf("%v: %s", err, errs)
		}
		after := a.files()
		delete(before, "nats/lock") // says which process has looked
		delete(after, "nats/lock")
		for name, text := range before {
			if after[name] != text {
				t.Errorf("%s was changed", name)
			}
		}
		if len(after) != len(before) {
			t.Errorf("%d files, before %d", len(after), len(before))
		}
	})
}

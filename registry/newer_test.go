package registry_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// unknown is the value of a member of a newer version, written as nobody writes it who has decoded it: not in order, with numbers that no
// float64 holds, and with escapes that are not needed.
const unknown = `{"b":[1.50,-0.0,123456789012345678901.0e-2],"a":{"":"\u00e9\/<&>","null":null},"B":[[],{}]}`

const (
	newerClient = `{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read","offline":true,"x":` + unknown + `}`
	newerIssuer = `{"type":"external","status":"active","iss":"https://%s.example","use":["access_token"],"aud":["https://billing"],` +
		`"jwks_uri":"https://idp.example/jwks?v=1&x=2","x":` + unknown + `}`
	newerKey = `{"kty":"OKP","crv":"Ed25519","x":"%s","iat":5,"revoked_by_hand":%s,"z":` + unknown + `}`
)

// change is a method of the registry that writes a record anew, done to one that a newer version has written. In what is written the same
// unknown members must be in the same places.
type change struct {
	method string
	bucket bus.Bucket
	record string // name; %s is the client or the issuer
	value  string // what the newer version has written there. Empty: as the client's or issuer's record is
	places []string
	do     func(context.Context, *world, events.Name) error
}

func changesOfIssuers() []change {
	top := []string{"/x"}
	scope := events.Scope{}
	return []change{
		{"UpdateClient", bus.Keys, "issuer.%s", "", top, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.UpdateClient(ctx, alice, name, registry.ClientUpdate{Scope: &scope})
			return err
		}},
		{"DisableClient", bus.Keys, "issuer.%s", "", top, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.DisableClient(ctx, alice, name)
			return err
		}},
		{"EnableClient", bus.Keys, "issuer.%s", strings.Replace(newerClient, `"active"`, `"disabled"`, 1), top, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.EnableClient(ctx, alice, name)
			return err
		}},
		{"UpdateIssuer", bus.Keys, "issuer.%s", newerIssuer, top, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.UpdateIssuer(ctx, alice, name, registry.IssuerUpdate{Audience: &[]string{"https://stock"}})
			return err
		}},
		{"DisableIssuer", bus.Keys, "issuer.%s", newerIssuer, top, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.DisableIssuer(ctx, alice, name)
			return err
		}},
		{"EnableIssuer", bus.Keys, "issuer.%s", strings.Replace(newerIssuer, `"active"`, `"disabled"`, 1), top, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.EnableIssuer(ctx, alice, name)
			return err
		}},
		{"EnsurePlatform", bus.Keys, "issuer.platform", `{"type":"platform","status":"active","iss":"` + platformURL + `","x":` + unknown + `}`, top,
			func(ctx context.Context, w *world, _ events.Name) error {
				_, err := w.EnsurePlatform(ctx, alice, platformURL) // which has no account yet
				return err
			}},
	}
}

func changesOfKeys(t *testing.T) []change {
	places := []string{"/revoked_by_hand", "/z"}
	key := func() string {
		return fmt.Sprintf(newerKey, base64.RawURLEncoding.EncodeToString(newPublic(t)), unknown)
	}
	return []change{
		{"RetireKey", bus.Keys, "key.%s.k1", key(), places, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.RetireKey(ctx, alice, name, "k1", registry.Retirement{})
			return err
		}},
		{"RotateKey", bus.Keys, "key.%s.k1", key(), places, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.RotateKey(ctx, alice, name, registry.Rotation{Overlap: time.Hour})
			return err
		}},
	}
}

func changesOfCredentials(t *testing.T) []change {
	sum := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return registry.Thumbprint(sum)
	}
	certs := `"tls":{"x5t#S256":["` + sum("a") + `","` + sum("b") + `"],"x":` + unknown + `}`
	record := func(tls string) string {
		return `{"secrets":[{"id":"a","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","x":` + unknown + `},` +
			`{"id":"b","sha256":"60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"}],` + tls +
			`,"federated":[{"issuer":"idp","sub":"a","aud":"b","x":` + unknown + `},{"issuer":"idp","sub":"c","aud":"b"}],` +
			`"profile":{"name":"n","options":` + unknown + `,"x":` + unknown + `},"x":` + unknown + `}`
	}
	places := []string{"/x", "/secrets/0/x", "/tls/x", "/federated/0/x", "/profile/x", "/profile/options"}
	without := func(place string) []string {
		return slices.DeleteFunc(slices.Clone(places), func(p string) bool { return p == place })
	}
	clients := func(method, tls string, places []string, do func(context.Context, *world, events.Name) error) change {
		return change{method, bus.Clients, "%s", record(tls), places, do}
	}
	return []change{
		clients("AddSecret", certs, places, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.AddSecret(ctx, alice, name, time.Time{})
			return err
		}),
		clients("RevokeSecret", certs, places, func(ctx context.Context, w *world, name events.Name) error {
			return w.RevokeSecret(ctx, alice, name, "b")
		}),
		clients("AddCertificate", certs, places, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.AddCertificate(ctx, alice, name, w.certificates(1)[0])
			return err
		}),
		clients("RemoveCertificate", certs, places, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.RemoveCertificate(ctx, alice, name, sha256.Sum256([]byte("a")))
			return err
		}),
		clients("SetCertificateSubject", `"tls":{"san_dns":"a.example","x":`+unknown+`}`, places, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.SetCertificateSubject(ctx, alice, name, events.TLS{URI: "spiffe://a"})
			return err
		}),
		// Cleared means that no certificate is accepted, not even in a way that this version does not know.
		clients("ClearCertificates", certs, without("/tls/x"), func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.ClearCertificates(ctx, alice, name)
			return err
		}),
		clients("AddFederated", certs, places, func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.AddFederated(ctx, alice, name, events.Federated{Issuer: "vouching", Subject: "s", Audience: "b"})
			return err
		}),
		clients("RemoveFederated", certs, places, func(ctx context.Context, w *world, name events.Name) error {
			return w.RemoveFederated(ctx, alice, name, events.Federated{Issuer: "idp", Subject: "c", Audience: "b"})
		}),
		clients("RequireJTI", certs, places, func(ctx context.Context, w *world, name events.Name) error {
			return w.RequireJTI(ctx, alice, name, true)
		}),
		clients("UpdateClient", certs, without("/profile/options"), func(ctx context.Context, w *world, name events.Name) error {
			_, err := w.UpdateClient(ctx, alice, name, registry.ClientUpdate{Profile: &events.Profile{Name: "other"}})
			return err
		}),
	}
}

func changesOfOthers(t *testing.T, w *world) []change {
	token, end := events.TokenByID("iss", "jti"), w.clock.Now().Add(time.Hour)
	x := base64.RawURLEncoding.EncodeToString(newPublic(t))
	return []change{
		// A provider's key that was fetched, and is published with an end now.
		{"SyncKeys", bus.Keys, "key.%s.k1", `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","jwks_uri":"` + idpKeys + `","z":` + unknown + `}`, []string{"/z"},
			func(ctx context.Context, w *world, name events.Name) error {
				key := must(events.ParseKey("k1", w.stored(bus.Keys, "key."+string(name)+".k1").Value))(w.t)
				_, err := w.SyncKeys(ctx, alice, name, registry.Published{Source: idpKeys, Keys: []registry.ProviderKey{
					{KeyID: "k1", Algorithm: key.Algorithm, Public: key.Public, Expires: end.Unix()}}})
				return err
			}},
		// A revocation that does not last as long as the token.
		{"RevokeToken", bus.Revocations, token.String(), fmt.Sprintf(`{"exp":%d,"reason":"a","x":%s}`, end.Add(-time.Minute).Unix(), unknown), []string{"/x"},
			func(ctx context.Context, w *world, _ events.Name) error {
				_, err := w.RevokeToken(ctx, alice, token, end, "b")
				return err
			}},
	}
}

// makesRecords are the methods that write a record where none is, or leave one alone that is there.
var makesRecords = []string{"CreateClient", "AddIssuer", "AddKey", "ImportKeys", "RevokeKey"}

func TestUnknownMembersSurviveEveryChange(t *testing.T) {
	w := newWorld(t)
	w.ok(w.AddIssuer(t.Context(), alice, "vouching", registry.IssuerSpec{Iss: "https://ci.example", Use: []string{events.UseAssertion}}))
	tested := slices.Clone(makesRecords)
	for i, c := range slices.Concat(changesOfIssuers(), changesOfKeys(t), changesOfCredentials(t), changesOfOthers(t, w)) {
		tested = append(tested, c.method)
		t.Run(c.method, func(t *testing.T) {
			name := events.Name(fmt.Sprintf("newer%d", i))
			issuer := newerClient
			if c.value == "" {
				c.value = issuer
			} else if strings.Contains(c.method, "Issuer") || c.method == "SyncKeys" {
				issuer = fmt.Sprintf(newerIssuer, name)
				c.value = strings.ReplaceAll(c.value, "%s", string(name))
			}
			record := strings.ReplaceAll(c.record, "%s", string(name))
			w.server.Write(bus.Keys, "issuer."+string(name), issuer)
			before := w.server.Write(c.bucket, record, c.value)
			w.set()
			if err := c.do(t.Context(), w, name); err != nil {
				t.Fatal(err)
			}
			e := w.stored(c.bucket, record)
			if e.Revision == before {
				t.Fatal("nothing was written")
			}
			for _, place := range c.places {
				if have := memberAt(e.Value, place); have != unknown {
					t.Errorf("%s is %s\nin %s", place, have, e.Value)
				}
			}
		})
	}
	for method := range reflect.TypeFor[*registry.Registry]().Methods() {
		takesCaller := method.Type.NumIn() > 2 && method.Type.In(2) == reflect.TypeFor[registry.Caller]()
		if takesCaller && !slices.Contains(tested, method.Name) {
			t.Errorf("%s changes records: add it to this test", method.Name)
		}
	}
}

// memberAt returns the text of the member that a JSON pointer names, as it stands in the record, or nothing.
func memberAt(record []byte, pointer string) string {
	value := json.RawMessage(record)
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch {
		case json.Unmarshal(value, &object) == nil:
			value = object[part]
		case json.Unmarshal(value, &list) == nil && len(list) > 0: // always the first
			value = list[0]
		default:
			return ""
		}
	}
	return string(value)
}

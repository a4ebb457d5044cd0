package doctor_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/doctor"
)

// notStarted is the one thing that is not well with buckets which nobody has used yet.
const notStarted = "no token service was ever started here"

func TestN_DoctorFindsNothingWrongWithAServerThatIsAsItMustBe(t *testing.T) {
	t.Parallel()
	r := start(t, setup{}).examine()
	if r.Failed() || r.Unknown() || len(bad(r)) != 1 || !strings.Contains(bad(r)[0], notStarted) {
		t.Errorf("found\n%s", strings.Join(bad(r), "\n"))
	}
	mustSay(t, r, doctor.OK, "health", "n0 is well")
	mustSay(t, r, doctor.OK, "sync", "n0")
	mustSay(t, r, doctor.OK, "anonymous", "n0")
	mustSay(t, r, doctor.OK, "roles", "verifier", "was refused", "names of 0 of 0 issuers")
	if r.Version != server.VERSION || r.Server == "" {
		t.Errorf("server %q, version %q", r.Server, r.Version)
	}
}

func TestN_DoctorWarnsOfWhatMayBeMeant(t *testing.T) {
	t.Parallel()
	w := start(t, setup{options: func(_ int, o *server.Options) { noAuthUser(o, "OTHERS") }})
	w.put(bus.Keys, "key.orders.k1", "not json")
	w.put(bus.Keys, "issuer.login", `{"type":"external","status":"active","iss":"https://login.example.com","use":["assertion"]}`)
	w.put(bus.Keys, "issuer.login2", `{"type":"external","status":"active","iss":"https://login.example.com","use":["assertion"]}`)
	r := w.examine()
	if r.Failed() || r.Unknown() {
		t.Errorf("found\n%s", strings.Join(bad(r), "\n"))
	}
	mustSay(t, r, doctor.Warn, "anonymous", "n0", "to an account without the buckets")
	mustSay(t, r, doctor.Warn, "records", "1 malformed, such as key.orders.k1 (revision 1, by unknown (nats))")
	mustSay(t, r, doctor.Warn, "records", "https://login.example.com is claimed by login, login2")
	mustSay(t, r, doctor.Warn, "platform", notStarted)
}

func TestN_DoctorSaysWhyItCannotConnect(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	for _, test := range []struct {
		change func(*doctor.Config)
		words  []string
	}{
		{func(c *doctor.Config) { c.NATS.URL = "nats://127.0.0.1:1" }, []string{"cannot be reached", "start the NATS server"}},
		{func(c *doctor.Config) { c.NATS.SeedFile = stranger(t) }, []string{"refused the credential", "give a credential that the server knows"}},
	} {
		r := w.examine(test.change)
		mustSay(t, r, doctor.Fail, "reach", test.words...)
		if len(r.Findings) != 1 {
			t.Errorf("found\n%s", strings.Join(bad(r), "\n"))
		}
	}
}

func TestN_DoctorFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	stream := func(b bus.Bucket, change func(*jetstream.StreamConfig)) func(*world) {
		return func(w *world) { w.remake(b, change) }
	}
	publish := func(role bus.Role, subjects ...string) func(bus.Role, *server.Permissions) {
		return func(r bus.Role, p *server.Permissions) {
			if r == role {
				p.Publish.Allow = append(p.Publish.Allow, subjects...)
			}
		}
	}
	subscribe := func(role bus.Role, subjects ...string) func(bus.Role, *server.Permissions) {
		return func(r bus.Role, p *server.Permissions) {
			if r == role {
				p.Subscribe.Allow = append(p.Subscribe.Allow, subjects...)
			}
		}
	}
	register := func(w *world) {
		w.put(bus.Keys, "issuer.orders", `{"type":"client","status":"active"}`)
		w.put(bus.Keys, "issuer.billing", `{"type":"client","status":"active"}`)
		w.put(bus.Keys, "key.billing.k2", publicKey(time.Now().Add(time.Hour)))
	}
	for name, test := range map[string]struct {
		setup
		broken func(*world)
		config func(*doctor.Config)
		check  string
		words  []string
	}{
		"writes are synced every two minutes": {
			setup: setup{options: func(_ int, o *server.Options) { o.SyncAlways, o.SyncInterval = false, 2*time.Minute }},
			check: "sync", words: []string{"n0", "sync_interval is 2m0s", "needed: always"},
		},
		"the server's files may take no more": {
			setup: setup{options: func(_ int, o *server.Options) { o.JetStreamMaxStore = 64 << 10 }},
			broken: func(w *world) {
				for i := 0; ; i++ {
					_, err := w.js.Publish(t.Context(), bus.Keys.Subject(fmt.Sprint("key.orders.k", i)), bytes.Repeat([]byte(" "), 1000))
					var refused *jetstream.APIError
					if errors.As(err, &refused) && refused.ErrorCode == 10023 { // insufficient resources
						return
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			},
			check: "storage", words: []string{"n0", "of 0.1 MiB", "nobody can revoke anything", "max_file_store"},
		},
		"a writer of one name can erase all": {
			broken: stream(bus.Keys, func(c *jetstream.StreamConfig) { c.AllowRollup, c.DenyPurge = true, false }),
			check:  "bucket", words: []string{"KEYS: allow_rollup_hdrs is true", "needed: absent"},
		},
		"a bucket can be purged": {
			broken: stream(bus.Revocations, func(c *jetstream.StreamConfig) { c.DenyPurge = false }),
			check:  "bucket", words: []string{"REVOCATIONS: deny_purge is absent", "needed: true"},
		},
		"messages can be deleted": {
			broken: stream(bus.Clients, func(c *jetstream.StreamConfig) { c.DenyDelete = false }),
			check:  "bucket", words: []string{"CLIENTS: deny_delete is absent", "needed: true"},
		},
		"there may be ten followers": {
			broken: stream(bus.Keys, func(c *jetstream.StreamConfig) { c.MaxConsumers = 10 }),
			check:  "bucket", words: []string{"KEYS: max_consumers is 10", "needed: 100000"},
		},
		"there may be as many followers as the server likes": {
			broken: stream(bus.Keys, func(c *jetstream.StreamConfig) { c.MaxConsumers = -1 }),
			check:  "bucket", words: []string{"KEYS: max_consumers is -1", "needed: 100000"},
		},
		"there is no history": {
			broken: func(w *world) { w.edit(bus.Keys, 1, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }) },
			check:  "bucket", words: []string{"KEYS: max_msgs_per_subject is 1", "needed: 16"},
		},
		"keys vanish after a day": {
			broken: func(w *world) { w.edit(bus.Keys, 1, func(c *jetstream.StreamConfig) { c.MaxAge = 24 * time.Hour }) },
			check:  "bucket", words: []string{"KEYS: max_age is 86400000000000", "needed: 0"},
		},
		"a bucket is in memory": {
			broken: stream(bus.Keys, func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }),
			check:  "bucket", words: []string{"KEYS: storage is \"memory\"", "needed: \"file\""},
		},
		"a bucket that a library made": {
			broken: stream(bus.Keys, func(c *jetstream.StreamConfig) { c.Metadata = nil }),
			check:  "bucket", words: []string{"KEYS: metadata.keyherald.format is absent"},
		},
		"a bucket is missing": {
			broken: func(w *world) { w.remove(bus.Assertions) },
			check:  "bucket", words: []string{"ASSERTIONS does not exist", "keyherald init"},
		},
		"no JetStream": {
			setup: setup{options: func(_ int, o *server.Options) { o.JetStream = false }},
			check: "bucket", words: []string{"no JetStream"},
		},
		"a verifier that may write keys": {
			setup: setup{permit: publish(bus.Verifier, "$KV.KEYS.>")},
			check: "roles", words: []string{"verifier", "may publish to $KV.KEYS.issuer.platform", "needed: to be refused"},
		},
		"a verifier that may delete consumers": {
			setup: setup{permit: publish(bus.Verifier, "$JS.API.CONSUMER.DELETE.KV_KEYS.*")},
			check: "roles", words: []string{"verifier", "may publish to $JS.API.CONSUMER.DELETE.KV_KEYS."},
		},
		"a verifier that may delete a bucket": {
			setup: setup{permit: publish(bus.Verifier, "$JS.API.STREAM.DELETE.KV_USAGE")},
			check: "roles", words: []string{"verifier", "may publish to $JS.API.STREAM.DELETE.KV_USAGE;"},
		},
		"a verifier that hears everything": {
			setup: setup{permit: subscribe(bus.Verifier, ">")},
			check: "roles", words: []string{"verifier", "may subscribe to >"},
		},
		"a verifier with the shared inbox": {
			setup: setup{permit: subscribe(bus.Verifier, "_INBOX.>")},
			check: "roles", words: []string{"verifier", "may subscribe to _INBOX.>"},
		},
		"a verifier that hears what an issuer node is answered": {
			setup: setup{permit: sharedInbox()},
			check: "roles", words: []string{"verifier", "may subscribe to _INBOX_U"},
		},
		"a verifier that may give one issuer keys": {
			setup: setup{permit: publish(bus.Verifier, "$KV.KEYS.key.billing.>")}, broken: register,
			check: "roles", words: []string{"verifier", "may publish to $KV.KEYS.key.billing.keyherald-doctor;"},
		},
		"a verifier that may write keys of one name": {
			setup: setup{permit: publish(bus.Verifier, "$KV.KEYS.*.*.k2")}, broken: register,
			check: "roles", words: []string{"verifier", "may publish to $KV.KEYS.revoked.billing.k2;"},
		},
		"a verifier that may change one issuer": {
			setup: setup{permit: publish(bus.Verifier, "$KV.KEYS.issuer.orders")}, broken: register,
			check: "roles", words: []string{"verifier", "may publish to $KV.KEYS.issuer.orders;"},
		},
		"a verifier that may change one client": {
			setup: setup{permit: publish(bus.Verifier, "$KV.CLIENTS.orders")}, broken: register,
			check: "roles", words: []string{"verifier", "may publish to $KV.CLIENTS.orders;"},
		},
		"a verifier that may read one client": {
			setup: setup{permit: publish(bus.Verifier, "$JS.API.DIRECT.GET.KV_CLIENTS.$KV.CLIENTS.orders")}, broken: register,
			check: "roles", words: []string{"verifier", "may publish to $JS.API.DIRECT.GET.KV_CLIENTS.$KV.CLIENTS.orders;"},
		},
		"a verifier that hears of all keys": {
			setup: setup{permit: subscribe(bus.Verifier, "$KV.KEYS.key.>")},
			check: "roles", words: []string{"verifier", "may subscribe to $KV.KEYS.key.>;"},
		},
		"a verifier that hears of the keys of one issuer": {
			setup: setup{permit: subscribe(bus.Verifier, "$KV.KEYS.key.billing.*")}, broken: register,
			check: "roles", words: []string{"verifier", "may subscribe to $KV.KEYS.key.billing.k2;"},
		},
		"an issuer node that may register anybody": {
			setup: setup{permit: publish(bus.Issuer, "$KV.KEYS.issuer.*")},
			check: "roles", words: []string{"issuer", "may publish to $KV.KEYS.issuer.keyherald-doctor;"},
		},
		"an operator who may purge": {
			setup: setup{permit: publish(bus.Operator, "$JS.API.STREAM.PURGE.KV_KEYS")},
			check: "roles", words: []string{"operator", "may publish to $JS.API.STREAM.PURGE.KV_KEYS;"},
		},
		"a verifier that cannot answer flow control": {
			setup: setup{permit: func(r bus.Role, p *server.Permissions) {
				p.Publish.Allow = slices.DeleteFunc(slices.Clone(p.Publish.Allow), func(s string) bool { return r == bus.Verifier && strings.HasPrefix(s, "$JS.FC.KV_KEYS") })
			}},
			check: "roles", words: []string{"verifier", "may not publish to $JS.FC.KV_KEYS.", "the role needs it"},
		},
		"a credential that can do nothing": {
			setup: setup{permit: func(r bus.Role, p *server.Permissions) {
				if r == bus.Verifier {
					p.Publish.Allow = []string{"nothing"}
				}
			}},
			check: "roles", words: []string{"verifier", "the credential does not work", "a refusal says nothing"},
		},
		"a user without any limits": {
			setup: setup{permit: func(r bus.Role, p *server.Permissions) {
				if r == bus.Operator {
					*p = server.Permissions{}
				}
			}},
			config: func(c *doctor.Config) { c.Roles = nil },
			check:  "roles", words: []string{"doctor's own credential", "may publish to $JS.API.INFO"},
		},
		"a credential of another role": {
			config: func(c *doctor.Config) { c.Roles = []doctor.Credential{{Role: bus.Verifier, SeedFile: c.NATS.SeedFile}} },
			check:  "roles", words: []string{"verifier", "may publish to $KV.KEYS.issuer.platform"},
		},
		"a credential that the server does not know": {
			config: func(c *doctor.Config) { c.Roles = []doctor.Credential{{Role: bus.Verifier, SeedFile: stranger(t)}} },
			check:  "roles", words: []string{"verifier", "a refusal says nothing"},
		},
		"anybody is let in": {
			setup:  setup{nobodyAsks: true},
			config: func(c *doctor.Config) { c.NATS.SeedFile, c.Roles = "", nil },
			check:  "anonymous", words: []string{"n0", "without a credential is let in", "needed: to be refused", "no_auth_user"},
		},
		"no_auth_user": {
			setup: setup{options: func(_ int, o *server.Options) { noAuthUser(o, "KEYHERALD") }},
			check: "anonymous", words: []string{"n0", "without a credential is let in"},
		},
		"our clock is behind by minutes": {
			config: func(c *doctor.Config) { c.Now = ago(5 * time.Minute) },
			check:  "clock", words: []string{"n0 and this machine differ by ", "less than 2s", "the first is ahead"},
		},
		"our clock is ahead by minutes": {
			config: func(c *doctor.Config) { c.Now = ago(-5 * time.Minute) },
			check:  "clock", words: []string{"n0 and this machine differ by ", "less than 2s", "the first is behind"},
		},
		"more replicas are demanded": {
			config: func(c *doctor.Config) { c.Replicas = 3 },
			check:  "replicas", words: []string{"KEYS", "needed: 3"},
		},
		"the token services are gone": {
			broken: func(w *world) {
				w.put(bus.Keys, "issuer.platform", `{"type":"platform","status":"active","iss":"https://auth.example.com"}`)
				w.put(bus.Keys, "key.platform.k1", publicKey(time.Now().Add(-time.Minute)))
			},
			check: "platform", words: []string{"https://auth.example.com", "the last signing key ended at "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, test.setup)
			if test.broken != nil {
				test.broken(w)
			}
			if test.config == nil {
				test.config = func(*doctor.Config) {}
			}
			if test.check != "roles" { // what is said of the others does not depend on them, and there are many calls
				w.cfg.Roles = nil
			}
			r := w.examine(test.config)
			mustSay(t, r, doctor.Fail, test.check, test.words...)
			if !r.Failed() {
				t.Error("the report does not say that it failed")
			}
		})
	}
}

// publicKey is a record of KEYS.
func publicKey(ends time.Time) string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","exp":%d}`, ends.Unix())
}

// sharedInbox gives verifiers the inbox of issuer nodes, too.
func sharedInbox() func(bus.Role, *server.Permissions) {
	may := map[bus.Role]*server.SubjectPermission{}
	return func(r bus.Role, p *server.Permissions) {
		if may[r] = p.Subscribe; r == bus.Issuer {
			may[bus.Verifier].Allow = append(may[bus.Verifier].Allow, p.Subscribe.Allow...)
		}
	}
}

// noAuthUser makes a user of an account for those who have no credential.
func noAuthUser(o *server.Options, account string) {
	for _, acc := range o.Accounts {
		if acc.Name == account {
			o.Users = append(o.Users, &server.User{Username: "nobody", Password: "nothing", Account: acc})
		}
	}
	o.NoAuthUser = "nobody"
}

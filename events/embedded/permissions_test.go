package embedded_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

// mustRefuse publishes on a subject and checks that the server refuses exactly that. The credential is shown to work
// right before, so that the refusal is about the subject.
func (c *client) mustRefuse(t *testing.T, subject string) {
	t.Helper()
	if _, err := c.js.Stream(t.Context(), "KV_KEYS"); err != nil {
		t.Fatalf("the credential does not work at all: %v", err)
	}
	if err := c.Publish(subject, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got, want := c.refusal(t), fmt.Sprintf(`Permissions Violation for Publish to "%s"`, subject); !strings.Contains(got, want) {
		t.Errorf("refused with %q, want %q", got, want)
	}
}

// mustAllow publishes on subjects and checks that the server refuses none of them. A refusal comes without being asked
// for, so one that is sure to come is provoked last.
func (c *client) mustAllow(t *testing.T, subjects ...string) {
	t.Helper()
	const refused = "nobody.may.publish.here"
	for _, subject := range append(slices.Clone(subjects), refused) {
		if err := c.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.refusal(t); !strings.Contains(got, `Publish to "`+refused+`"`) {
		t.Errorf("refused: %s", got)
	}
}

// nobodyMay lists what is refused to every role but the admin, where the embedded server has no use for it at all.
var nobodyMay = []string{
	"$JS.API.STREAM.PURGE.KV_KEYS",
	"$JS.API.STREAM.DELETE.KV_KEYS",
	"$JS.API.STREAM.MSG.DELETE.KV_KEYS",
	"$JS.API.STREAM.CREATE.KV_KEYS",
	"$JS.API.STREAM.CREATE.MINE",
	"$JS.API.STREAM.UPDATE.KV_KEYS",
	"$JS.API.STREAM.SNAPSHOT.KV_KEYS",
	"$JS.API.STREAM.RESTORE.KV_KEYS",
	"$JS.API.STREAM.MSG.GET.KV_KEYS",
	"$JS.API.STREAM.LIST",
	"$JS.API.STREAM.NAMES",
	"$JS.API.INFO",
	"$JS.API.ACCOUNT.PURGE.KEYHERALD",
	"$JS.API.CONSUMER.LIST.KV_KEYS",
	"$JS.API.CONSUMER.NAMES.KV_KEYS",
	"$JS.API.CONSUMER.INFO.KV_KEYS.w1",
	"$JS.API.CONSUMER.MSG.NEXT.KV_KEYS.w1",
	"$JS.API.CONSUMER.CREATE.KV_KEYS", // the legacy form, whose body alone says what it is about
	"$JS.API.CONSUMER.DURABLE.CREATE.KV_KEYS.w1",
	"$JS.ACK.KV_KEYS.w1.1.1.1.1.0",
	"$SYS.REQ.SERVER.PING",
	"$SYS.REQ.ACCOUNT.KEYHERALD.CONNZ",
	"_INBOX.of.somebody",
	"orders",
	"keyherald",
	"keyherald.unknown-key", // without an issuer
	"keyherald.unknown-key.login.k1",
	"keyherald.other.login",
}

// operatorsMay lists what operators may and verifiers and issuer nodes may not.
var operatorsMay = []string{
	"$KV.KEYS.issuer.orders",
	"$KV.KEYS.issuer.platform",
	"$KV.KEYS.key.orders.k1",
	"$KV.KEYS.revoked.orders.k1",
	"$KV.CLIENTS.orders",
	"$JS.API.CONSUMER.DELETE.KV_KEYS.w1",
	"$JS.API.CONSUMER.CREATE.KV_KEYS.w1", // without a filter
	"$JS.API.DIRECT.GET.KV_KEYS",
	"$JS.API.STREAM.INFO.KV_ASSERTIONS",
	"$JS.API.CONSUMER.CREATE.KV_ASSERTIONS.w1.$KV.ASSERTIONS.>",
	"$JS.API.CONSUMER.CREATE.KV_USAGE.w1.$KV.USAGE.>",
	"$JS.API.DIRECT.GET.KV_ASSERTIONS.$KV.ASSERTIONS.x",
	"$JS.FC.KV_USAGE.w1.x",
}

// issuersMay lists what issuer nodes may and verifiers may not.
var issuersMay = []string{
	"$KV.KEYS.key.platform.abc",
	"$KV.KEYS.key.platform.b64.abc",
	"$KV.REVOCATIONS.jti.x",
	"$KV.ASSERTIONS.x",
	"$KV.USAGE.secret.orders.s1",
	"$JS.API.STREAM.INFO.KV_USAGE",
	"$JS.API.DIRECT.GET.KV_USAGE.$KV.USAGE.secret.orders.s1",
	"$JS.API.STREAM.INFO.KV_CLIENTS",
	"$JS.API.CONSUMER.CREATE.KV_CLIENTS.w1.$KV.CLIENTS.>",
	"$JS.API.DIRECT.GET.KV_CLIENTS.$KV.CLIENTS.orders",
	"$JS.FC.KV_CLIENTS.w1.x",
}

// verifiersMay lists what everybody may.
var verifiersMay = []string{
	"$JS.API.STREAM.INFO.KV_KEYS",
	"$JS.API.STREAM.INFO.KV_REVOCATIONS",
	"$JS.API.CONSUMER.CREATE.KV_KEYS.w1.$KV.KEYS.>",
	"$JS.API.CONSUMER.CREATE.KV_REVOCATIONS.w1.$KV.REVOCATIONS.>",
	"$JS.API.DIRECT.GET.KV_KEYS.$KV.KEYS.issuer.orders",
	"$JS.API.DIRECT.GET.KV_REVOCATIONS.$KV.REVOCATIONS.jti.x",
	"$JS.FC.KV_KEYS.w1.x",
	"$JS.FC.KV_REVOCATIONS.w1.x",
	"$JS.FC.domain.hash.KV_KEYS.w1.x",
	"$JS.FC.domain.hash.KV_REVOCATIONS.w1.x",
	"keyherald.unknown-key.login", // a hint, no record
}

func TestN_PublishPermissions(t *testing.T) {
	s := start(t, embedded.Config{})
	for _, r := range []struct {
		role    bus.Role
		allowed [][]string
		refused [][]string
	}{
		{bus.Verifier, [][]string{verifiersMay}, [][]string{issuersMay, operatorsMay, nobodyMay}},
		{bus.Issuer, [][]string{verifiersMay, issuersMay}, [][]string{operatorsMay, nobodyMay, {
			"$KV.KEYS.key.platform", // not a key's name, and nothing that a lease could overwrite
			"$KV.KEYS.key.platformx.k1",
			"$KV.KEYS.revoked.platform.k1",
		}}},
		{bus.Operator, [][]string{verifiersMay, issuersMay, operatorsMay}, [][]string{nobodyMay}},
		{bus.Admin, [][]string{verifiersMay, issuersMay, operatorsMay}, [][]string{{
			"$JS.API.STREAM.CREATE.MINE",
			"$JS.API.STREAM.DELETE.MINE",
			"$JS.API.STREAM.LIST",
			"$JS.API.INFO",
			"$JS.API.ACCOUNT.PURGE.KEYHERALD",
			"$SYS.REQ.SERVER.PING",
			"orders",
			"keyherald.other.login",
		}}},
	} {
		t.Run(string(r.role), func(t *testing.T) {
			c := connect(t, s, r.role)
			for _, subject := range slices.Concat(r.refused...) {
				t.Run("may not "+subject, func(t *testing.T) { c.mustRefuse(t, subject) })
			}
			t.Run("may", func(t *testing.T) { c.mustAllow(t, slices.Concat(r.allowed...)...) })
		})
	}
}

func TestN_NobodySubscribesToAnothersInboxOrToRecords(t *testing.T) {
	s := start(t, embedded.Config{})
	for _, role := range bus.Roles() {
		subjects := []string{">", "*.>", "$KV.>", "$KV.KEYS.>", "$JS.>", "$JS.API.>", "$SYS.>", "_INBOX_*.>", "keyherald.>", "keyherald.*.*"}
		for _, other := range bus.Roles() {
			if other != role {
				subjects = append(subjects, s.InboxPrefix(other)+".>", s.InboxPrefix(other)+".a.b")
			}
		}
		if role == bus.Verifier || role == bus.Issuer {
			subjects = append(subjects, "_INBOX.>", "_INBOX.abc", "_INBOX.abc.*", "keyherald.unknown-key.*", "keyherald.unknown-key.login")
		}
		c := connect(t, s, role)
		for _, subject := range subjects {
			t.Run(fmt.Sprintf("%s to %s", role, subject), func(t *testing.T) {
				if _, err := c.js.Stream(t.Context(), "KV_KEYS"); err != nil { // answered on its own inbox
					t.Fatalf("the credential does not work at all: %v", err)
				}
				sub, err := c.SubscribeSync(subject)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = sub.Unsubscribe() }()
				if got, want := c.refusal(t), fmt.Sprintf(`Permissions Violation for Subscription to "%s"`, subject); !strings.Contains(got, want) {
					t.Errorf("refused with %q, want %q", got, want)
				}
			})
		}
	}
}

func TestN_OnlyOperatorsAndAdminsUseTheSharedInbox(t *testing.T) {
	s := start(t, embedded.Config{})
	for _, role := range bus.Roles() {
		c := connect(t, s, role, nats.CustomInboxPrefix("_INBOX"))
		sub, err := c.SubscribeSync(c.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.PublishRequest("$JS.API.STREAM.INFO.KV_KEYS", sub.Subject, nil); err != nil {
			t.Fatal(err)
		}
		if role == bus.Verifier || role == bus.Issuer {
			mustContain(t, c.refusal(t), `Permissions Violation for Subscription to "_INBOX.`)
		} else if _, err := sub.NextMsg(patience); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// The subject of a request names bucket and filter, the body does, too: what the body says must not get through.
func TestN_VerifierCannotSmuggleAnotherBucketIntoARequest(t *testing.T) {
	s := start(t, embedded.Config{})
	connect(t, s, bus.Operator).put(t, bus.Clients, "orders", `{"secrets":[]}`)
	verifier := connect(t, s, bus.Verifier)
	type body struct {
		Stream string         `json:"stream_name"`
		Config map[string]any `json:"config"`
		Action string         `json:"action"`
	}
	const subject = "$JS.API.CONSUMER.CREATE.KV_KEYS.w1.$KV.KEYS.>"
	for name, b := range map[string]body{
		"another stream": {"KV_CLIENTS", map[string]any{"name": "w1", "filter_subject": "$KV.KEYS.>"}, ""},
		"another filter": {"KV_KEYS", map[string]any{"name": "w1", "filter_subject": "$KV.CLIENTS.>"}, ""},
		"more filters":   {"KV_KEYS", map[string]any{"name": "w1", "filter_subjects": []string{"$KV.KEYS.>", "$KV.CLIENTS.>"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if code := verifier.api(t, subject, b); code == 0 {
				t.Error("was accepted")
			}
		})
	}
	t.Run("the honest request works", func(t *testing.T) {
		b := body{"KV_KEYS", map[string]any{"name": "w1", "filter_subject": "$KV.KEYS.>", "ack_policy": "none", "deliver_policy": "all"}, "create"}
		if code := verifier.api(t, subject, b); code != 0 {
			t.Errorf("refused with %d", code)
		}
	})
}

// api sends a JetStream API request and returns the error code of the answer, or 0.
func (c *client) api(t *testing.T, subject string, body any) int {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Request(subject, text, patience)
	if err != nil {
		t.Fatal(err)
	}
	var resp struct {
		Error struct {
			Code int `json:"err_code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &resp); err != nil {
		t.Fatal(err)
	}
	return resp.Error.Code
}

// A verifier's whole day with the KV client of nats.go: bind, read, and watch more than fits into one flow control window.
func TestN_VerifierFollowsABucketWithItsOwnInbox(t *testing.T) {
	s := start(t, embedded.Config{})
	operator := connect(t, s, bus.Operator)
	const records = 400
	value := strings.Repeat("x", 16<<10)
	for i := range records {
		operator.put(t, bus.Keys, fmt.Sprintf("key.orders.k%d", i), value)
	}
	verifier := connect(t, s, bus.Verifier)
	js, err := verifier.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue("KEYS")
	if err != nil {
		t.Fatal(err)
	}
	if entry, err := kv.Get("key.orders.k7"); err != nil || string(entry.Value()) != value {
		t.Errorf("get: %v", err)
	}
	watcher, err := kv.WatchAll(nats.IncludeHistory())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(2 * patience)
	for seen := 0; seen < records; seen++ {
		select {
		case entry := <-watcher.Updates():
			if entry == nil || entry.Revision() != uint64(seen+1) {
				t.Fatalf("after %d: %v", seen, entry)
			}
		case msg := <-verifier.refused:
			t.Fatalf("after %d: %s", seen, msg)
		case <-deadline:
			t.Fatalf("only %d of %d arrived", seen, records)
		}
	}
}

func TestN_IssuerUsesAssertionsWithoutReadingThem(t *testing.T) {
	s := start(t, embedded.Config{})
	issuer := connect(t, s, bus.Issuer)
	use := func() error {
		_, err := issuer.js.Publish(t.Context(), "$KV.ASSERTIONS.abc", nil, jetstream.WithExpectLastSequencePerSubject(0))
		return err
	}
	if err := use(); err != nil {
		t.Errorf("first use: %v", err)
	}
	var api *jetstream.APIError
	if err := use(); !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence {
		t.Errorf("second use: %v", err)
	}
	issuer.mustRefuse(t, "$JS.API.STREAM.INFO.KV_ASSERTIONS")
}

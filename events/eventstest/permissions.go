package eventstest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
)

// Holder is who holds a credential.
type Holder struct {
	Name  string
	Role  bus.Role
	Login nats.Option // the credential
	Inbox string      // its private inbox prefix
}

// Permissions tries what each of some holders may do on a server with the buckets, and what must be refused to them: every server on which there are
// roles must pass. There must be one of each role, and two verifiers that are not to read each other's answers. What comes of the calls that are
// allowed is not looked at, and some of them write: the records are nobody's.
func Permissions(t *testing.T, url string, holders []Holder) {
	t.Helper()
	if !slices.ContainsFunc(holders, func(h Holder) bool { return h.Role == bus.Admin }) || len(verifiersAmong(holders)) < 2 {
		t.Fatal("there is nobody to tell apart")
	}
	for _, h := range holders {
		t.Run(h.Name, func(t *testing.T) {
			t.Run("publishes", func(t *testing.T) { publishes(t, holderAt(t, url, h)) })
			t.Run("subscribes", func(t *testing.T) { subscribes(t, holderAt(t, url, h), holders) })
			t.Run("uses the shared inbox", func(t *testing.T) { usesSharedInbox(t, holderAt(t, url, h, nats.CustomInboxPrefix("_INBOX"))) })
			t.Run("smuggles", func(t *testing.T) { smuggles(t, holderAt(t, url, h)) })
			t.Run("purges", func(t *testing.T) { purges(t, holderAt(t, url, h)) })
		})
	}
}

func verifiersAmong(holders []Holder) (verifiers []Holder) {
	for _, h := range holders {
		if h.Role == bus.Verifier {
			verifiers = append(verifiers, h)
		}
	}
	return verifiers
}

// holding is a holder's connection.
type holding struct {
	*nats.Conn
	Holder
	js jetstream.JetStream
}

func holderAt(t *testing.T, url string, h Holder, more ...nats.Option) *holding {
	t.Helper()
	c := &holding{Holder: h}
	options := append([]nats.Option{
		h.Login, nats.CustomInboxPrefix(h.Inbox), nats.Timeout(Patience),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // else it prints what is refused
	}, more...)
	var err error
	if c.Conn, err = nats.Connect(url, options...); err != nil {
		t.Fatalf("connect as %s: %v", h.Name, err)
	}
	t.Cleanup(c.Close)
	if c.js, err = jetstream.New(c.Conn, jetstream.WithDefaultTimeout(Patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// refused reports whether the server has refused this, and nothing after it: it says so before it answers that it has dealt with all
// that was sent.
func (c *holding) refused(t *testing.T, what, subject string) bool {
	t.Helper()
	if err := c.FlushTimeout(Patience); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`nats: permissions violation: Permissions Violation for %s "%s"`, what, subject)
	return c.LastError() != nil && c.LastError().Error() == want
}

func (c *holding) mustBeRefused(t *testing.T, what, subject string) {
	t.Helper()
	if !c.refused(t, what, subject) {
		t.Errorf("not refused: %s %s; the last error is %v", what, subject, c.LastError())
	}
}

// works shows that the credential works, so that what is refused next is refused for what it is.
func (c *holding) works(t *testing.T) {
	t.Helper()
	if _, err := c.js.Stream(t.Context(), bus.Keys.Stream()); err != nil { // the answer comes to its own inbox
		t.Fatalf("the credential does not work at all: %v", err)
	}
}

func (c *holding) mustNotPublish(t *testing.T, subject string) {
	t.Helper()
	c.works(t)
	if err := c.Publish(subject, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	c.mustBeRefused(t, "Publish to", subject)
}

func (c *holding) mustNotSubscribe(t *testing.T, subject string) {
	t.Helper()
	c.works(t)
	sub, err := c.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	c.mustBeRefused(t, "Subscription to", subject)
}

func (c *holding) mustPublish(t *testing.T, subject string) {
	t.Helper()
	if err := c.Publish(subject, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if c.refused(t, "Publish to", subject) {
		t.Errorf("refused: publish to %s", subject)
	}
}

// nobodyMay lists what is refused to every role but the admin.
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

// issuersMayNot lists what is close to what issuer nodes may.
var issuersMayNot = []string{
	"$KV.KEYS.key.platform", // not a key's name, and nothing that a lease could overwrite
	"$KV.KEYS.key.platformx.k1",
	"$KV.KEYS.revoked.platform.k1",
}

// adminsMayNot lists what has nothing to do with the buckets.
var adminsMayNot = []string{
	"$JS.API.STREAM.CREATE.MINE",
	"$JS.API.STREAM.DELETE.MINE",
	"$JS.API.STREAM.LIST",
	"$JS.API.INFO",
	"$JS.API.ACCOUNT.PURGE.KEYHERALD",
	"$SYS.REQ.SERVER.PING",
	"$SYS.REQ.CLAIMS.UPDATE", // where accounts are JWTs
	"orders",
	"keyherald.other.login",
}

func publishes(t *testing.T, c *holding) {
	var may, mayNot []string
	switch c.Role {
	case bus.Verifier:
		may, mayNot = verifiersMay, slices.Concat(issuersMay, operatorsMay, nobodyMay)
	case bus.Issuer:
		may, mayNot = slices.Concat(verifiersMay, issuersMay), slices.Concat(operatorsMay, nobodyMay, issuersMayNot)
	case bus.Operator:
		may, mayNot = slices.Concat(verifiersMay, issuersMay, operatorsMay), nobodyMay
	case bus.Admin:
		may, mayNot = slices.Concat(verifiersMay, issuersMay, operatorsMay), adminsMayNot
	}
	for _, subject := range mayNot {
		t.Run("not "+subject, func(t *testing.T) { c.mustNotPublish(t, subject) })
	}
	for _, subject := range may {
		c.mustPublish(t, subject)
	}
}

// low reports whether a role is none of a person's, who may use the shared inbox and hear of unknown keys.
func low(r bus.Role) bool { return r == bus.Verifier || r == bus.Issuer }

// subscribes tries records, others' inboxes, and everything.
func subscribes(t *testing.T, c *holding, holders []Holder) {
	subjects := []string{">", "*", "*.>", "$KV.>", "$KV.KEYS.>", "$JS.>", "$JS.API.>", "$SYS.>", "_INBOX_*.>", "keyherald.>", "keyherald.*.*"}
	for _, other := range holders {
		if other.Inbox != c.Inbox {
			subjects = append(subjects, other.Inbox+".>", other.Inbox+".a.b")
		}
	}
	if low(c.Role) {
		subjects = append(subjects, "_INBOX.>", "_INBOX.abc", "_INBOX.abc.*", "keyherald.unknown-key.*", "keyherald.unknown-key.login")
	}
	for _, subject := range subjects {
		t.Run("not to "+subject, func(t *testing.T) { c.mustNotSubscribe(t, subject) })
	}
	t.Run("not by a queue", func(t *testing.T) {
		c.works(t)
		sub, err := c.QueueSubscribeSync(">", "q")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		c.mustBeRefused(t, "Subscription to", `>" using queue "q`)
	})
}

func usesSharedInbox(t *testing.T, c *holding) {
	sub, err := c.SubscribeSync(c.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PublishRequest("$JS.API.STREAM.INFO.KV_KEYS", sub.Subject, nil); err != nil {
		t.Fatal(err)
	}
	if low(c.Role) {
		c.mustBeRefused(t, "Subscription to", sub.Subject)
	} else if _, err := sub.NextMsg(Patience); err != nil {
		t.Error(err)
	}
}

// smuggles makes requests whose subject names one bucket and filter, and whose body another: what the body says must not get through.
func smuggles(t *testing.T, c *holding) {
	type body struct {
		Stream string         `json:"stream_name"`
		Config map[string]any `json:"config"`
		Action string         `json:"action"`
	}
	consumer := "w" + c.Inbox[len(c.Inbox)-8:]
	subject := fmt.Sprintf("$JS.API.CONSUMER.CREATE.KV_KEYS.%s.$KV.KEYS.>", consumer)
	for name, b := range map[string]body{
		"another stream": {"KV_CLIENTS", map[string]any{"name": consumer, "filter_subject": "$KV.KEYS.>"}, ""},
		"another filter": {"KV_KEYS", map[string]any{"name": consumer, "filter_subject": "$KV.CLIENTS.>"}, ""},
		"more filters":   {"KV_KEYS", map[string]any{"name": consumer, "filter_subjects": []string{"$KV.KEYS.>", "$KV.CLIENTS.>"}}, ""},
	} {
		if code := c.api(t, subject, b); code == 0 {
			t.Errorf("%s was accepted", name)
		}
	}
	honest := body{"KV_KEYS", map[string]any{"name": consumer, "filter_subject": "$KV.KEYS.>", "ack_policy": "none", "deliver_policy": "all"}, "create"}
	if code := c.api(t, subject, honest); code != 0 {
		t.Errorf("the honest request was refused with %d", code)
	}
}

// purges shows that an admin's request gets as far as JetStream, which refuses it for the stream's settings, and nobody else's does.
func purges(t *testing.T, c *holding) {
	const subject = "$JS.API.STREAM.PURGE.KV_KEYS"
	if c.Role != bus.Admin {
		c.mustNotPublish(t, subject)
		return
	}
	const denied = 10110 // what a stream that denies purges says
	if code := c.api(t, subject, map[string]any{}); code != denied {
		t.Errorf("an admin's purge ended with %d, want %d", code, denied)
	}
}

// api sends a JetStream API request and returns the error code of the answer, or 0.
func (c *holding) api(t *testing.T, subject string, body any) int {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Request(subject, text, Patience)
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

package verifier_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// now is the moment at which most tests take place.
var now = time.Unix(1_790_000_000, 0)

// feed is a key set without a bucket: it is filled by the messages that the bucket would bring.
type feed struct {
	t           testing.TB
	keys        atomic.Pointer[events.Set]
	revocations *events.Revocations
	confirmed   atomic.Pointer[time.Time]
	revision    uint64 // of the last message, the writer's
}

var _ verifier.Feed = (*feed)(nil)

// newFeed returns a feed that is empty, and confirmed to be so now.
func newFeed(t testing.TB, emit func(events.Change)) *feed {
	f := &feed{t: t, revocations: events.NewRevocations(emit)}
	f.keys.Store(events.NewSet(emit))
	f.confirm(now)
	return f
}

func (f *feed) Keys() *events.Set                { return f.keys.Load() }
func (f *feed) Revocations() *events.Revocations { return f.revocations }
func (f *feed) Confirmed() time.Time             { return *f.confirmed.Load() }

func (f *feed) confirm(at time.Time) { f.confirmed.Store(&at) }

// put writes a record of KEYS, which must be one that the set takes.
func (f *feed) put(name, value string) {
	f.t.Helper()
	f.putAnything(name, value)
	for _, r := range f.Keys().Rejected() {
		if r.Name == name {
			f.t.Fatalf("the set refuses %s %s: %s", name, value, r.Reason)
		}
	}
}

// putAnything writes what may be malformed.
func (f *feed) putAnything(name, value string) {
	f.revision++
	f.Keys().Apply(events.Entry{Name: name, Value: []byte(value), Revision: f.revision, Time: now})
}

func (f *feed) delete(name string) {
	f.revision++
	f.Keys().Apply(events.Entry{Name: name, Deleted: true, Revision: f.revision, Time: now})
}

// revokeToken writes any value on a name of REVOCATIONS.
func (f *feed) revokeToken(id events.TokenID, value string) {
	f.revision++
	f.revocations.Apply(events.Entry{Name: id.String(), Value: []byte(value), Revision: f.revision, Time: now}, now)
}

// putKey registers the public half of a signer. More are members of the record: `,"exp":1`.
func (f *feed) putKey(issuer events.Name, s signer, more string) {
	f.t.Helper()
	f.put(events.KeyRecord(issuer, s.kid).String(), strings.TrimSuffix(s.record(), "}")+more+"}")
}

// The installation that most tests use.
const (
	platformURL = "https://auth.example.com"
	ordersURL   = platformURL + "/v1/clients/orders"
	shippingURL = platformURL + "/v1/clients/shipping"
	loginURL    = "https://login.example.net/tenant/"
	buildsURL   = "https://builds.example.org"

	billing = "https://billing.example.com"
	reports = "https://reports.example.com"
	account = "acc-0123456789"

	platformRecord = `{"type":"platform","status":"active","iss":"` + platformURL + `","account":"` + account + `"}`
	ordersRecord   = `{"type":"client","status":"active","aud":["` + billing + `","` + reports + `"],"scope":"billing:read billing:write","offline":true}`
	shippingRecord = `{"type":"client","status":"active","scope":"billing:read"}`
	loginRecord    = `{"type":"external","status":"active","iss":"` + loginURL + `","use":["access_token"],"aud":["` + billing + `"],"scope":"billing:read profile"}`
	buildsRecord   = `{"type":"external","status":"active","iss":"` + buildsURL + `","use":["assertion"],"aud":["` + billing + `"]}`
)

// installation returns a feed with the platform (key p1), a client that may mint its own tokens (orders, keys k1, es, rs and ps, one
// for each algorithm), one that may not (shipping, key s1), and two external issuers: login (key x1) and builds (key b1).
func installation(t testing.TB) *feed {
	f := newFeed(t, nil)
	f.fill()
	return f
}

func (f *feed) fill() {
	f.put("issuer.platform", platformRecord)
	f.put("issuer.orders", ordersRecord)
	f.put("issuer.shipping", shippingRecord)
	f.put("issuer.login", loginRecord)
	f.put("issuer.builds", buildsRecord)
	f.putKey("platform", platformKey, `,"exp":1790007200`)
	for _, s := range ordersKeys() {
		f.putKey("orders", s, "")
	}
	f.putKey("shipping", shippingKey, "")
	f.putKey("login", loginKey, "")
	f.putKey("builds", buildsKey, "")
}

// billingConfig is what the service billing says, which takes tokens of login's users, too.
func billingConfig() verifier.Config {
	return verifier.Config{Audience: billing, Externals: []events.Name{"login"}, Now: func() time.Time { return now }}
}

// verifier returns the verifier of billing over the feed, with changes to its configuration.
func (f *feed) verifier(change ...func(*verifier.Config)) *verifier.Verifier {
	f.t.Helper()
	cfg := billingConfig()
	for _, c := range change {
		c(&cfg)
	}
	v, err := verifier.New(cfg, f)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

func at(t time.Time) func(*verifier.Config) {
	return func(cfg *verifier.Config) { cfg.Now = func() time.Time { return t } }
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// segments of a compact token.
func segments(token string) []string { return strings.Split(token, ".") }

// longestSegments are those parts of a token that could be recognised in a text.
func longestSegments(token string) []string {
	return slices.DeleteFunc(segments(token), func(s string) bool { return len(s) < 8 })
}

package bus_test

import (
	"slices"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

func TestN_ForbiddenCallsAreThoseThatTheRoleHasNoLeaveFor(t *testing.T) {
	const own, others = "_INBOX_U1", "_INBOX_U2"
	calls := bus.Calls([]string{others}, events.KeyRecord("orders", "k2"), events.IssuerRecord("orders"), events.IssuerRecord(events.Platform))
	for role, want := range map[bus.Role]struct{ forbidden, allowed []string }{
		bus.Verifier: {
			[]string{
				"publish to $KV.KEYS.issuer.platform", "publish to $KV.KEYS.key.platform.keyherald-doctor", "publish to $KV.REVOCATIONS.jti.keyherald-doctor",
				"publish to $JS.API.CONSUMER.DELETE.KV_KEYS.keyherald-doctor", "publish to $JS.API.CONSUMER.CREATE.KV_KEYS", "publish to $JS.API.STREAM.DELETE.KV_KEYS",
				"publish to $JS.API.STREAM.INFO.KV_CLIENTS", "publish to $JS.API.STREAM.MSG.GET.KV_KEYS", "publish to _INBOX_U2.keyherald-doctor",
				"subscribe to >", "subscribe to *.>", "subscribe to _INBOX.>", "subscribe to _INBOX_U2.>", "subscribe to $KV.KEYS.>", "subscribe to keyherald.unknown-key.*",
				"publish to $KV.KEYS.issuer.orders", "publish to $KV.KEYS.key.orders.keyherald-doctor", "publish to $KV.KEYS.key.orders.k2",
				"publish to $KV.KEYS.revoked.orders.k2", "publish to $KV.KEYS.revoked.orders.keyherald-doctor", "publish to $KV.CLIENTS.orders",
				"publish to $KV.USAGE.secret.orders.s1", "publish to $JS.API.DIRECT.GET.KV_CLIENTS.$KV.CLIENTS.orders",
				"publish to $JS.API.CONSUMER.CREATE.KV_CLIENTS.keyherald-doctor.$KV.CLIENTS.orders",
				"subscribe to $KV.KEYS.key.>", "subscribe to $KV.KEYS.issuer.>", "subscribe to $KV.KEYS.revoked.>", "subscribe to $KV.KEYS.key.orders.k2", "subscribe to $KV.CLIENTS.orders",
			},
			[]string{"publish to $JS.API.STREAM.INFO.KV_KEYS", "publish to $JS.API.CONSUMER.CREATE.KV_KEYS.keyherald-doctor.$KV.KEYS.>"},
		},
		bus.Issuer: {
			[]string{"publish to $KV.KEYS.issuer.keyherald-doctor", "publish to $KV.KEYS.revoked.platform.keyherald-doctor", "publish to $KV.CLIENTS.keyherald-doctor", "subscribe to _INBOX.>"},
			[]string{"publish to $KV.KEYS.key.platform.keyherald-doctor", "publish to $JS.API.STREAM.INFO.KV_CLIENTS"},
		},
		bus.Operator: {
			[]string{"publish to $JS.API.STREAM.PURGE.KV_KEYS", "publish to $JS.API.STREAM.UPDATE.KV_KEYS", "subscribe to >", "subscribe to _INBOX_U2.>"},
			[]string{"publish to $KV.KEYS.issuer.platform", "subscribe to _INBOX.>"},
		},
		bus.Admin: {
			[]string{"publish to $JS.API.INFO", "publish to $JS.API.STREAM.CREATE.keyherald-doctor", "subscribe to $JS.API.>"},
			[]string{"publish to $JS.API.STREAM.PURGE.KV_KEYS"},
		},
	} {
		var forbidden []string
		may := role.Permissions(own)
		for _, c := range calls {
			if !may.May(c) {
				forbidden = append(forbidden, c.String())
			}
		}
		for _, c := range want.forbidden {
			if !slices.Contains(forbidden, c) {
				t.Errorf("%s: %s is not forbidden", role, c)
			}
		}
		for _, c := range want.allowed {
			if slices.Contains(forbidden, c) {
				t.Errorf("%s: %s is forbidden", role, c)
			}
		}
	}
	all := slices.Clone(calls)
	slices.SortFunc(all, func(a, b bus.Call) int { return slices.Compare([]byte(a.String()), []byte(b.String())) })
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		t.Error("a call is listed twice: it can be tried once only")
	}
}

func TestPermissionsCoverSubjectsWithWildcards(t *testing.T) {
	for _, test := range []struct {
		allowed, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.b", "a", false}, {"a.b", "a.b.c", false},
		{"a.*", "a.b", true}, {"a.*", "a.*", true}, {"a.*", "a.>", false}, {"a.*", "a", false}, {"a.*", "a.b.c", false},
		{"a.>", "a.b", true}, {"a.>", "a.b.c", true}, {"a.>", "a.>", true}, {"a.>", "a", false}, {"a.>", "*.>", false}, {"a.>", ">", false},
		{">", ">", true}, {">", "a", true}, {"a.b", "a.*", false}, {"*.>", ">", false}, {"*.>", "*.>", true},
	} {
		may := bus.Permissions{Subscribe: []string{test.allowed}}
		if got := may.May(bus.Call{Verb: bus.Subscribe, Subject: test.subject}); got != test.want {
			t.Errorf("leave for %s: %s is %t", test.allowed, test.subject, got)
		}
		if may.May(bus.Call{Verb: bus.Publish, Subject: test.subject}) {
			t.Errorf("leave to subscribe is leave to publish to %s", test.subject)
		}
	}
}

package embedded_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

func TestN_RollupErasesNothing(t *testing.T) {
	s := start(t, embedded.Config{})
	operator := connect(t, s, bus.Operator)
	operator.put(t, bus.Keys, "key.orders.k1", "{}")
	for _, role := range []bus.Role{bus.Issuer, bus.Operator, bus.Admin} {
		for _, scope := range []string{jetstream.MsgRollupAll, jetstream.MsgRollupSubject} {
			t.Run(fmt.Sprintf("%s %s", role, scope), func(t *testing.T) {
				c := connect(t, s, role)
				last := c.put(t, bus.Keys, "key.platform.abc", "{}")
				msg := nats.NewMsg("$KV.KEYS.key.platform.abc")
				msg.Header.Set(jetstream.MsgRollup, scope)
				if _, err := c.js.PublishMsg(t.Context(), msg); err == nil {
					t.Error("was accepted")
				} else {
					mustContain(t, err.Error(), "rollup not permitted")
				}
				info := mustStream(t, c, bus.Keys).CachedInfo()
				if info.State.LastSeq != last || info.State.Msgs != last {
					t.Errorf("the stream has %d messages up to %d, want %d", info.State.Msgs, info.State.LastSeq, last)
				}
			})
		}
	}
	if got := operator.get(t, bus.Keys, "key.orders.k1"); got != "{}" {
		t.Errorf("another's record is %q", got)
	}
}

// The streams refuse what would take a message away, whoever asks: an admin would have to delete a bucket as a whole.
func TestN_NotEvenAdminsPurgeOrDeleteMessages(t *testing.T) {
	s := start(t, embedded.Config{})
	admin := connect(t, s, bus.Admin)
	for _, b := range bus.Buckets() {
		admin.put(t, b, "a.b", "{}")
		stream := mustStream(t, admin, b)
		var api *jetstream.APIError
		if err := stream.Purge(t.Context()); !errors.As(err, &api) || api.ErrorCode != 10110 {
			t.Errorf("purge of %s: %v", b, err)
		}
		if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(b.Subject("a.b"))); !errors.As(err, &api) || api.ErrorCode != 10110 {
			t.Errorf("purge of a name in %s: %v", b, err)
		}
		if err := stream.DeleteMsg(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "err_code=10057") {
			t.Errorf("delete of a message in %s: %v", b, err)
		}
		for setting, change := range map[string]func(*jetstream.StreamConfig){
			"deny_purge":        func(c *jetstream.StreamConfig) { c.DenyPurge = false },
			"deny_delete":       func(c *jetstream.StreamConfig) { c.DenyDelete = false },
			"allow_rollup_hdrs": func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		} {
			cfg := bus.StreamConfig(b, 1)
			change(&cfg)
			if _, err := admin.js.UpdateStream(t.Context(), cfg); err == nil {
				t.Errorf("%s of %s can be changed", setting, b)
			}
		}
		if got := admin.get(t, b, "a.b"); got != "{}" {
			t.Errorf("record in %s is %q", b, got)
		}
	}
}

func TestN_AdminMakesDeletesAndUpdatesBuckets(t *testing.T) {
	s := start(t, embedded.Config{})
	admin := connect(t, s, bus.Admin)
	cfg := bus.StreamConfig(bus.Usage, 1)
	cfg.Description = "changed"
	if _, err := admin.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Error(err)
	}
	if err := admin.js.DeleteStream(t.Context(), bus.Usage.Stream()); err != nil {
		t.Error(err)
	}
	if err := bus.EnsureBuckets(t.Context(), admin.js, 1); err != nil {
		t.Error(err)
	}
	if got := mustStream(t, admin, bus.Usage).CachedInfo().Config.Description; got != "" {
		t.Errorf("the bucket was not made again: %q", got)
	}
}

func mustStream(t *testing.T, c *client, b bus.Bucket) jetstream.Stream {
	t.Helper()
	stream, err := c.js.Stream(t.Context(), b.Stream())
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

package backup_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry/backup"
)

// A marker has no value, whatever the message carries: an issuer node may write one with a body, and that must stop no restore.
func TestP5_ABodyOfADeleteMarkerIsNoValue(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"DEL", "PURGE"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			header := nats.Header{"KV-Operation": {operation}}
			w := start(t)
			w.Publish(bus.Revocations, token(1).String(), "body", header)
			w.Publish(bus.Keys, "revoked.orders.k0", "body", header)
			fresh := empty(t)
			fresh.restore(w.save(), backup.Options{})
			fresh.has(bus.Revocations, map[string]string{token(1).String(): "deleted"})
			fresh.has(bus.Keys, map[string]string{"issuer.platform": platformJSON, "revoked.orders.k0": "deleted"})

			w.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
			w.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
			file := w.save()
			if bytes.Contains(file, []byte("body")) {
				t.Error("the file has a value for a marker")
			}
			w.Publish(bus.Keys, "key.orders.k1", "body", header)
			w.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2, `"exp":20`))
			w.Publish(bus.Keys, "key.orders.k2", "body", header)
			w.restore(file, backup.Options{})
			w.has(bus.Keys, map[string]string{
				"issuer.platform": platformJSON, "revoked.orders.k0": "deleted",
				"key.orders.k1": eventstest.KeyJSON(1), "key.orders.k2": eventstest.KeyJSON(2, `"exp":20`),
			})
		})
	}
}

// A file that has such a body is one, too.
func TestP5_ABodyOfADeleteMarkerInAFileIsNoValue(t *testing.T) {
	t.Parallel()
	w := empty(t)
	w.restore(withLines(`{"name":"revoked.orders.k0","seq":1,"time":"2026-11-26T00:00:00Z","deleted":true,"value":"body"}`), backup.Options{})
	w.has(bus.Keys, map[string]string{"revoked.orders.k0": "deleted"})
}

// The streams take more than a record may have, because the server counts headers in. Such a value is malformed, and the file that has it
// is not damaged: what denies by its name denies, and what counted before counts.
func TestP5_AValueThatIsTooLargeIsMalformed(t *testing.T) {
	t.Parallel()
	most := int(bus.StreamConfig(bus.Keys, 1).MaxMsgSize)
	for name, value := range map[string]string{
		"text":         strings.Repeat("x", most),
		"escaped text": strings.Repeat(`"`, most),
		"no text":      strings.Repeat("\x00", most),
		"by one byte":  strings.Repeat("x", events.MaxValue+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.Write(bus.Keys, "issuer.orders", clientJSON())
			for b, name := range map[bus.Bucket]string{
				bus.Keys: "issuer.orders", bus.Clients: "orders", bus.Usage: strings.Repeat("u", 3900), bus.Revocations: token(1).String(), bus.Assertions: assertion(1),
			} {
				w.Publish(b, name, value, nil)
			}
			w.Publish(bus.Keys, "revoked.orders.k0", value, nil)
			w.Publish(bus.Usage, "key.orders.k1", value, nil)
			fresh := empty(t)
			fresh.restore(w.save(), backup.Options{})
			fresh.has(bus.Keys, map[string]string{"issuer.platform": platformJSON, "issuer.orders": clientJSON(), "revoked.orders.k0": ""})
			fresh.has(bus.Clients, nil)
			fresh.has(bus.Usage, nil)
			fresh.has(bus.Revocations, map[string]string{token(1).String(): ""})
			fresh.has(bus.Assertions, map[string]string{assertion(1): ""})
			if plan := w.plan(w.save(), backup.Options{}); plan.Writes() != 0 {
				t.Errorf("over the same records, %d are written", plan.Writes())
			}
		})
	}
}

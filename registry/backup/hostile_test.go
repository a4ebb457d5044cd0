package backup_test

import (
	"bytes"
	"testing"

	"github.com/nats-io/nats.go"

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

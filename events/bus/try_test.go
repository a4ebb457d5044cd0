package bus_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// everybody starts a server on which everybody may do everything, with buckets that refuse nothing, and a record in each.
func everybody(t *testing.T) (*bus.Conn, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(eventstest.Patience) {
		t.Fatal("the server does not start")
	}
	conn, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js := conn.JetStream()
	for _, b := range bus.Buckets() {
		cfg := bus.StreamConfig(b, 1)
		cfg.DenyDelete, cfg.DenyPurge, cfg.AllowRollup = false, false, true
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), b.Subject("issuer.orders"), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	return conn, js
}

// everything is what there is on a server: streams, their settings, messages and consumers.
func everything(t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	var all bytes.Buffer
	for info := range js.ListStreams(t.Context()).Info() {
		for _, part := range []any{info.Config, info.Created, info.State} {
			text, err := json.Marshal(part)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(append(text, '\n'))
		}
	}
	return all.String()
}

// TestN_NothingComesOfACallThatIsNotRefused makes every call where nothing is refused. What keeps each from doing harm is there twice for
// requests and records, and each of the two must be enough.
func TestN_NothingComesOfACallThatIsNotRefused(t *testing.T) {
	t.Parallel()
	without := func(headers ...string) func(*nats.Msg) {
		return func(m *nats.Msg) {
			for _, h := range headers {
				m.Header.Del(h)
			}
		}
	}
	for name, change := range map[string]func(*nats.Msg){
		"as it is": nil,
		"only the text is no JSON, and only the stream does not exist":      without("Nats-Required-Api-Level", jetstream.ExpectedLastSeqHeader),
		"only the API is too new, and only the last message does not exist": func(m *nats.Msg) { without(jetstream.ExpectedStreamHeader)(m); m.Data = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, js := everybody(t)
			before := everything(t, js)
			for _, call := range bus.Calls([]string{"_INBOX_U1"}, events.KeyRecord("orders", "k1")) {
				if call.Verb == bus.Publish && change != nil {
					if err := conn.PublishHarmless(call.Subject, change); err != nil {
						t.Fatal(err)
					}
				} else if allowed, err := conn.Try(t.Context(), call); err != nil || !allowed {
					t.Errorf("%s: allowed %t, %v", call, allowed, err)
				}
				if after := everything(t, js); after != before {
					t.Fatalf("%s: of\n%s\nit made\n%s", call, before, after)
				}
			}
		})
	}
}

// TestN_EveryForbiddenCallOfEveryRoleIsRefused tries them on the embedded server.
func TestN_EveryForbiddenCallOfEveryRoleIsRefused(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	revision := n.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
	for _, role := range bus.Roles() {
		conn := n.Connect(role)
		may := role.Permissions(conn.InboxPrefix())
		for _, call := range bus.Calls([]string{"_INBOX_U1"}, events.KeyRecord("orders", "k1")) {
			allowed, err := conn.Try(t.Context(), call)
			if err != nil || allowed != may.May(call) {
				t.Errorf("%s, %s: allowed %t, %v", role, call, allowed, err)
			}
		}
	}
	if again := n.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1)); again != revision+1 {
		t.Errorf("%d records were written", again-revision-1)
	}
}

func TestTryingWithoutAConnectionIsAnError(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	conn := n.Connect(bus.Verifier)
	n.Stop()
	if allowed, err := conn.Try(t.Context(), bus.Call{Verb: bus.Publish, Subject: "orders"}); allowed || !errors.Is(err, bus.ErrUnreachable) {
		t.Errorf("allowed %t, %v", allowed, err)
	}
	n.Start()
}

func TestInspectTellsWhatThereIs(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	conn := n.Connect(bus.Operator)
	i, err := conn.Inspect(t.Context(), bus.Keys)
	if err != nil || len(i.Drifts) != 0 || i.Replicas != 1 || i.Clustered || i.Consumers != 0 || i.Time.IsZero() || i.Created.IsZero() {
		t.Errorf("%+v, %v", i, err)
	}
	cfg := bus.StreamConfig(bus.Clients, 1)
	cfg.MaxMsgsPerSubject = events.History + 1
	if _, err := n.Admin().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if i, err = conn.Inspect(t.Context(), bus.Clients); err != nil || len(i.Drifts) != 1 || i.Drifts[0].Setting != "max_msgs_per_subject" {
		t.Errorf("%+v, %v", i, err)
	}
	if err := n.Admin().DeleteStream(t.Context(), bus.Usage.Stream()); err != nil {
		t.Fatal(err)
	}
	if _, err = conn.Inspect(t.Context(), bus.Usage); !errors.Is(err, bus.ErrNoBucket) {
		t.Error(err)
	}
	if _, err = n.Connect(bus.Verifier).Inspect(t.Context(), bus.Clients); !errors.Is(err, bus.ErrPermission) {
		t.Error(err)
	}
	if node := conn.Node(); node.ID == "" || node.Name != "keyherald" || node.Version != server.VERSION || !node.Loopback || node.Encrypted {
		t.Errorf("%+v", node)
	}
}

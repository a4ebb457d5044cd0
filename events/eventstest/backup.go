package eventstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
)

// Backup saves a bucket through JetStream's API, as `nats stream backup` does, and returns a function that deletes the bucket
// and restores it from there.
func (n *NATS) Backup(b bus.Bucket) (restore func()) {
	n.t.Helper()
	return backup(n.t, n.Admin(), b)
}

// Recreate deletes the stream of a bucket and makes it again, empty.
func (n *NATS) Recreate(b bus.Bucket) {
	n.t.Helper()
	recreate(n.t, n.Admin(), b, 1)
}

func backup(t testing.TB, js jetstream.JetStream, b bus.Bucket) (restore func()) {
	t.Helper()
	a := api{t, js.Conn()}
	settings, chunks := a.snapshot(b.Stream())
	return func() {
		t.Helper()
		if err := js.DeleteStream(t.Context(), b.Stream()); err != nil {
			t.Fatal(err)
		}
		a.restore(b.Stream(), settings, chunks)
	}
}

func recreate(t testing.TB, js jetstream.JetStream, b bus.Bucket, replicas int) {
	t.Helper()
	if err := js.DeleteStream(t.Context(), b.Stream()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), bus.StreamConfig(b, replicas)); err != nil {
		t.Fatal(err)
	}
}

// api is what the client library has no calls for.
type api struct {
	t  testing.TB
	nc *nats.Conn
}

// apiAnswer is what the answers of the API have in common.
type apiAnswer struct {
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
	DeliverSubject string `json:"deliver_subject"`

	// Of a snapshot, and all that a restore wants of it.
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// request asks the API. An acknowledgement is an empty answer. In a cluster our server may not have heard yet of the subject on which another one
// has just begun to listen.
func (a api) request(subject string, body []byte) (answer apiAnswer) {
	a.t.Helper()
	var msg *nats.Msg
	Eventually(a.t, "somebody answers on "+subject, func() bool {
		var err error
		if msg, err = a.nc.Request(subject, body, Patience); err != nil && !errors.Is(err, nats.ErrNoResponders) {
			a.t.Fatalf("%s: %v", subject, err)
		}
		return err == nil
	})
	if len(msg.Data) == 0 {
		return answer
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		a.t.Fatalf("%s: %v", subject, err)
	}
	if answer.Error != nil {
		a.t.Fatalf("%s: %s", subject, answer.Error.Description)
	}
	return answer
}

// snapshot returns the stream's settings and state, as a restore wants them, and its content in pieces.
func (a api) snapshot(stream string) (settings []byte, chunks [][]byte) {
	a.t.Helper()
	inbox := a.nc.NewInbox()
	sub, err := a.nc.SubscribeSync(inbox)
	if err != nil {
		a.t.Fatal(err)
	}
	const chunk = 64 << 10 // bytes
	answer := a.request("$JS.API.STREAM.SNAPSHOT."+stream,
		fmt.Appendf(nil, `{"deliver_subject":%q,"no_consumers":true,"chunk_size":%d}`, inbox, chunk))
	settings = fmt.Appendf(nil, `{"config":%s,"state":%s}`, answer.Config, answer.State)
	for {
		msg, err := sub.NextMsg(Patience)
		if err != nil {
			a.t.Fatalf("snapshot of %s: %v", stream, err)
		}
		if len(msg.Data) == 0 { // the end
			if err := sub.Unsubscribe(); err != nil {
				a.t.Fatal(err)
			}
			return settings, chunks
		}
		chunks = append(chunks, msg.Data)
		if msg.Reply == "" {
			continue // the server does not wait for this one
		}
		if err := msg.Respond(nil); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a api) restore(stream string, settings []byte, chunks [][]byte) {
	a.t.Helper()
	answer := a.request("$JS.API.STREAM.RESTORE."+stream, settings)
	for _, c := range chunks {
		a.request(answer.DeliverSubject, c)
	}
	if end := a.request(answer.DeliverSubject, nil); end.Config == nil {
		a.t.Fatalf("the restore of %s did not end with the stream", stream)
	}
}

package eventstest

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events/bus"
)

// Backup saves a bucket through JetStream's API, as `nats stream backup` does, and returns a function that deletes the bucket
// and restores it from there.
func (n *NATS) Backup(b bus.Bucket) (restore func()) {
	n.t.Helper()
	nc := n.Admin().Conn()
	settings, chunks := n.snapshot(nc, b.Stream())
	return func() {
		n.t.Helper()
		if err := n.Admin().DeleteStream(n.t.Context(), b.Stream()); err != nil {
			n.t.Fatal(err)
		}
		n.restore(nc, b.Stream(), settings, chunks)
	}
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

// request asks the API. An acknowledgement is an empty answer.
func (n *NATS) request(nc *nats.Conn, subject string, body []byte) (answer apiAnswer) {
	n.t.Helper()
	msg, err := nc.Request(subject, body, Patience)
	if err != nil {
		n.t.Fatalf("%s: %v", subject, err)
	}
	if len(msg.Data) == 0 {
		return answer
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		n.t.Fatalf("%s: %v", subject, err)
	}
	if answer.Error != nil {
		n.t.Fatalf("%s: %s", subject, answer.Error.Description)
	}
	return answer
}

// snapshot returns the stream's settings and state, as a restore wants them, and its content in pieces.
func (n *NATS) snapshot(nc *nats.Conn, stream string) (settings []byte, chunks [][]byte) {
	n.t.Helper()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		n.t.Fatal(err)
	}
	const chunk = 64 << 10 // bytes
	answer := n.request(nc, "$JS.API.STREAM.SNAPSHOT."+stream,
		fmt.Appendf(nil, `{"deliver_subject":%q,"no_consumers":true,"chunk_size":%d}`, inbox, chunk))
	settings = fmt.Appendf(nil, `{"config":%s,"state":%s}`, answer.Config, answer.State)
	for {
		msg, err := sub.NextMsg(Patience)
		if err != nil {
			n.t.Fatalf("snapshot of %s: %v", stream, err)
		}
		if len(msg.Data) == 0 { // the end
			if err := sub.Unsubscribe(); err != nil {
				n.t.Fatal(err)
			}
			return settings, chunks
		}
		chunks = append(chunks, msg.Data)
		if msg.Reply == "" {
			continue // the server does not wait for this one
		}
		if err := msg.Respond(nil); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *NATS) restore(nc *nats.Conn, stream string, settings []byte, chunks [][]byte) {
	n.t.Helper()
	answer := n.request(nc, "$JS.API.STREAM.RESTORE."+stream, settings)
	for _, c := range chunks {
		n.request(nc, answer.DeliverSubject, c)
	}
	if end := n.request(nc, answer.DeliverSubject, nil); end.Config == nil {
		n.t.Fatalf("the restore of %s did not end with the stream", stream)
	}
}

//go:build linux

package faults_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestF_ClusterWritersEraseNothing: on a single server, see TestN_RollupErasesNothing and its neighbours.
func TestF_ClusterWritersEraseNothing(t *testing.T) {
	t.Parallel()
	c := eventstest.StartCluster(t)
	operator := c.Connect(bus.Operator)
	for _, name := range []string{"key.orders.k1", "key.orders.k2"} {
		if _, err := operator.Put(t.Context(), bus.Put{Bucket: bus.Keys, Name: name, Value: []byte(eventstest.KeyJSON(1))}); err != nil {
			t.Fatal(err)
		}
	}
	before := fmt.Sprint(c.Replicas(bus.Keys))
	for what, message := range map[string]struct {
		subject, body string
		header        nats.Header
		want          string // of the server's answer; empty: there is none
	}{
		"rollup of everything":    {bus.Keys.Subject("key.orders.k1"), "{}", nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupAll}}, "rollup not permitted"},
		"rollup of a name":        {bus.Keys.Subject("key.orders.k1"), "{}", nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}, "rollup not permitted"},
		"purge":                   {"$JS.API.STREAM.PURGE." + bus.Keys.Stream(), "", nil, ""},
		"deletion of a message":   {"$JS.API.STREAM.MSG.DELETE." + bus.Keys.Stream(), `{"seq":1}`, nil, ""},
		"deletion of the bucket":  {"$JS.API.STREAM.DELETE." + bus.Keys.Stream(), "", nil, ""},
		"change of the bucket":    {"$JS.API.STREAM.UPDATE." + bus.Keys.Stream(), "{}", nil, ""},
		"step down of its leader": {"$JS.API.STREAM.LEADER.STEPDOWN." + bus.Keys.Stream(), "", nil, ""},
	} {
		t.Run(what, func(t *testing.T) {
			const long = 500 * time.Millisecond // for an answer that does not come: the server refuses the subject
			var answer *nats.Msg
			var err error
			eventstest.Eventually(t, "there is a leader, and it answers if it does", func() bool { // on a busy machine it changes by itself
				answer, err = operator.JetStream().Conn().RequestMsg(&nats.Msg{Subject: message.subject, Data: []byte(message.body), Header: message.header}, long)
				return err == nil || message.want == "" && !errors.Is(err, nats.ErrNoResponders)
			})
			if message.want == "" && err == nil || message.want != "" && !strings.Contains(string(answer.Data), message.want) {
				t.Errorf("the answer is %+v (%v), want %q", answer, err, message.want)
			}
		})
	}
	if after := fmt.Sprint(c.Replicas(bus.Keys)); after != before {
		t.Errorf("there was\n%s\nand there is\n%s", before, after)
	}
}

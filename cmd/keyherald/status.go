package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

type statusCmd struct {
	reach
	JSON bool `name:"json" help:"Print JSON."`
}

// statusReport is what status --json prints. It is an interface: members are added, not changed.
type statusReport struct {
	Server      string                   `json:"server"`
	InboxPrefix string                   `json:"inbox_prefix"` // of this credential, for nats --inbox-prefix
	Buckets     map[string]bucketReport  `json:"buckets"`
	FreshnessMS float64                  `json:"freshness_ms"` // since both buckets were last known to be complete
	Issuers     []issuerReport           `json:"issuers"`
	Keys        map[string]int           `json:"keys"` // by state
	Untrusted   int                      `json:"keys_without_issuer"`
	Revoked     int                      `json:"revoked_tokens"`
	Rejected    []rejectedReport         `json:"rejected"`
	Ambiguous   map[string][]events.Name `json:"ambiguous_issuers,omitempty"` // one iss, several external issuers: none trusted
}

type bucketReport struct {
	Revision uint64 `json:"revision"`
	Complete bool   `json:"complete"`
	Missing  uint64 `json:"missing"` // messages that the server says are there, and does not deliver
	Counted  bool   `json:"counted"` // whether that is known: not if something was written while they were read
}

func bucketStatus(st bus.FeedStatus) bucketReport {
	return bucketReport{st.Revision, st.CaughtUp, st.Missing, st.Counted}
}

type issuerReport struct {
	Name     events.Name       `json:"name"`
	Type     events.IssuerType `json:"type"`
	Status   events.Status     `json:"status"`
	Iss      string            `json:"iss"`
	Revision uint64            `json:"revision"`
	Keys     int               `json:"keys"` // active or retiring
}

type rejectedReport struct {
	Name     string    `json:"name"`
	Revision uint64    `json:"revision"`
	Time     time.Time `json:"time"`
	Caller   string    `json:"caller"`
	Reason   string    `json:"reason"`
}

func (c *statusCmd) Run(ctx context.Context, a *app) error {
	ctx, conn, done, err := c.connect(ctx, a, bus.Verifier)
	if err != nil {
		return err
	}
	defer done()
	keys := conn.FollowKeys(a.log)
	defer keys.Close()
	if err := keys.Wait(ctx); err != nil {
		return err
	}
	counting, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	_ = keys.WaitCounted(counting) // the report says what is not known
	report := makeStatus(keys, conn, time.Now())
	if c.JSON {
		return printJSON(a.out, report)
	}
	report.print(a)
	return nil
}

// countPatience is how long status waits to know whether the server delivers all that it has. A second is the most that it takes a cluster.
const countPatience = 3 * time.Second

func makeStatus(keys *bus.KeySet, conn *bus.Conn, now time.Time) statusReport {
	set, feeds := keys.Keys(), keys.Status()
	r := statusReport{
		Server: conn.URL(), InboxPrefix: conn.InboxPrefix(),
		Buckets: map[string]bucketReport{
			string(bus.Keys):        bucketStatus(feeds.Keys),
			string(bus.Revocations): bucketStatus(feeds.Revocations),
		},
		FreshnessMS: float64(events.Staleness(now, keys.Confirmed()).Milliseconds()),
		Issuers:     []issuerReport{},
		Keys:        map[string]int{},
		Revoked:     keys.Revocations().Len(),
		Rejected:    []rejectedReport{},
		Ambiguous:   set.Ambiguous(),
	}
	for _, s := range keyStates {
		r.Keys[s.String()] = 0
	}
	usable := map[events.Name]int{}
	for key := range set.AllKeys() {
		state := key.State(now)
		r.Keys[state.String()]++
		if state.Usable() {
			usable[key.Issuer]++
		}
		if set.Issuer(key.Issuer) == nil {
			r.Untrusted++
		}
	}
	for e := range set.Issuers() {
		r.Issuers = append(r.Issuers, issuerReport{e.Name, e.Record.Type, e.Record.Status, set.URL(e), e.Revision, usable[e.Name]})
	}
	slices.SortFunc(r.Issuers, func(x, y issuerReport) int { return cmp.Compare(x.Name, y.Name) })
	for _, x := range set.Rejected() {
		r.Rejected = append(r.Rejected, rejectedReport{x.Name, x.Revision, x.Time.UTC(), x.Caller, x.Reason})
	}
	slices.SortFunc(r.Rejected, func(x, y rejectedReport) int { return cmp.Compare(x.Revision, y.Revision) })
	return r
}

func (r statusReport) print(a *app) {
	fmt.Fprintf(a.out, "server     %s\nbuckets    KEYS complete up to revision %d, REVOCATIONS up to %d\n",
		r.Server, r.Buckets[string(bus.Keys)].Revision, r.Buckets[string(bus.Revocations)].Revision)
	for _, b := range []bus.Bucket{bus.Keys, bus.Revocations} {
		switch bucket := r.Buckets[string(b)]; {
		case bucket.Missing > 0:
			fmt.Fprintf(a.out, "MISSING    %s of %s, which the server has and does not deliver: its files may be damaged; see keyherald doctor\n", count(int(bucket.Missing), "message"), b)
		case !bucket.Counted:
			fmt.Fprintf(a.out, "unknown    whether the server delivers all of %s: something was written meanwhile\n", b)
		}
	}
	fmt.Fprintf(a.out, "freshness  known to be complete %.0f ms ago\n", r.FreshnessMS)
	fmt.Fprintf(a.out, "keys       %d active, %d retiring, %d pending, %d expired, %d revoked",
		r.Keys["active"], r.Keys["retiring"], r.Keys["pending"], r.Keys["expired"], r.Keys["revoked"])
	if r.Untrusted > 0 {
		fmt.Fprintf(a.out, "; %d of them of no known issuer: not trusted", r.Untrusted)
	}
	fmt.Fprintf(a.out, "\ntokens     %d revoked\nissuers    %d\n", r.Revoked, len(r.Issuers))
	const most = 20 // of a long list; --json has all
	for i, e := range r.Issuers {
		if i == most {
			fmt.Fprintf(a.out, "  … and %d more: see keyherald client list\n", len(r.Issuers)-most)
			break
		}
		fmt.Fprintf(a.out, "  %-24s %-8s %-8s %3d usable keys  %s\n", e.Name, e.Type, e.Status, e.Keys, printable(e.Iss))
	}
	for iss, names := range r.Ambiguous {
		fmt.Fprintf(a.out, "AMBIGUOUS  %s is claimed by %v: none of them is trusted\n", printable(iss), names)
	}
	if len(r.Rejected) == 0 {
		fmt.Fprintln(a.out, "rejected   no records")
		return
	}
	fmt.Fprintf(a.out, "rejected   %s (what was there before stays in force)\n", count(len(r.Rejected), "record"))
	for _, x := range r.Rejected {
		fmt.Fprintf(a.out, "  %s  revision %d  by %s  %s\n", printable(x.Name), x.Revision, printable(x.Caller), printable(x.Reason))
	}
}

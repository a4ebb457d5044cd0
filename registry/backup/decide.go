package backup

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// planner decides what becomes of each name.
type planner struct {
	archive *Archive
	options Options
	now     time.Time
	plan    *Plan
	effect  Effect
}

// samePlatform refuses to mix the records of two platforms.
func (p *planner) samePlatform() error {
	saved := p.archive.Summary.Platform
	it := p.archive.items[bus.Keys][events.IssuerRecord(events.Platform).String()]
	switch {
	case it == nil || it.live != present:
		return nil
	case it.same:
		p.plan.Platform = saved
		return nil
	}
	record, err := events.ParseIssuer(it.found.value)
	if err != nil {
		return err
	}
	p.plan.Platform = Platform{record.Iss, record.Account}
	if p.plan.Platform != saved && !p.options.OtherPlatform {
		return fmt.Errorf("%w: it has %s, and the buckets have %s", ErrOtherPlatform, saved, p.plan.Platform)
	}
	return nil
}

func (p *planner) decide(b bus.Bucket, name string, it *item) error {
	switch ruleOf(b, name) {
	case ruleDeny:
		return p.deny(b, name, it)
	case ruleAdd:
		return p.remember(b, name, it)
	}
	switch {
	case it.saved != present && it.live != present:
		return nil
	case it.same:
		p.effect.Same++
		return nil
	case it.saved != present:
		return p.remove(b, name, it)
	case it.revision == 0:
		p.effect.Add++
		p.step(giving(b, name), step{bucket: b, name: name, item: it})
		return nil
	}
	saved, err := p.archive.load(it)
	if err != nil {
		return err
	}
	if isFetched(b, name, saved.Value) { // what the bucket says of it is what its provider has said since
		p.effect.Left++
		return nil
	}
	value, err := p.merge(b, name, it, saved.Value)
	switch {
	case err != nil:
		return err
	case value == nil:
		p.effect.Left++
	case it.live != present:
		p.effect.Return++
		p.touch(b, name, it, returning(it))
		p.step(giving(b, name), step{bucket: b, name: name, item: it, value: value})
	case bytes.Equal(value, it.found.value):
		p.effect.Same++
	default:
		p.effect.Change++
		p.touch(b, name, it, "changed")
		p.step(p.changing(b, name, it, value), step{bucket: b, name: name, item: it, value: value})
	}
	return nil
}

// deny adds a revocation. One that only the bucket has stays, whatever the options say: no message takes it back.
func (p *planner) deny(b bus.Bucket, name string, it *item) error {
	if it.saved == absent {
		what := "key revoked for ever"
		if b == bus.Revocations {
			what = "token revoked"
		}
		if it.live == absent || b == bus.Revocations && !liveEnd(it).After(p.now) {
			return nil
		}
		p.plan.Kept = append(p.plan.Kept, p.named(b, name, it, what))
		return nil
	}
	if it.same || b == bus.Keys && it.live != absent {
		p.effect.Same++
		return nil
	}
	if b == bus.Revocations {
		saved, err := p.archive.load(it)
		if err != nil {
			return err
		}
		end := endOf(saved)
		if !end.After(p.now) {
			p.effect.Left++
			return nil
		}
		if it.live != absent && !liveEnd(it).Before(end) {
			p.effect.Same++
			return nil
		}
	}
	p.effect.Add++
	p.step(phaseDeny, step{bucket: b, name: name, item: it})
	return nil
}

// endOf is when the revocation of a token is forgotten by everybody.
func endOf(e events.Entry) time.Time {
	end := e.Time.Add(events.RevocationsMaxAge)
	if said, err := events.ParseTokenRevocation(e.Value); err == nil && !e.Deleted {
		if says := time.Unix(said.Expires, 0).Add(events.MaxLeeway); says.Before(end) {
			return says
		}
	}
	return end
}

// liveEnd is that of what the bucket has, and the file has not.
func liveEnd(it *item) time.Time {
	return endOf(events.Entry{Value: it.found.value, Deleted: it.live == marker, Time: it.found.at})
}

// remember adds what a memory has lost and still needs.
func (p *planner) remember(b bus.Bucket, name string, it *item) error {
	if it.saved != present || it.live != absent {
		if it.saved != absent {
			p.effect.Same++
		}
		return nil
	}
	saved, err := p.archive.load(it)
	if err != nil {
		return err
	}
	if age := bus.StreamConfig(b, 1).MaxAge; age > 0 && !saved.Time.Add(age).After(p.now) {
		p.effect.Left++
		return nil
	}
	if b == bus.Usage {
		if _, err := events.ParseUsage(saved.Value); err != nil {
			p.effect.Left++
			return nil
		}
		p.effect.Add++
		p.step(phaseTrust, step{bucket: b, name: name, item: it})
		return nil
	}
	p.effect.Add++
	p.step(phaseDeny, step{bucket: b, name: name, item: it})
	return nil
}

// remove deletes what the backup does not have, but for the platform, without which there is nothing.
func (p *planner) remove(b bus.Bucket, name string, it *item) error {
	if b == bus.Keys && name == events.IssuerRecord(events.Platform).String() {
		return nil
	}
	if isFetched(b, name, it.found.value) {
		record, err := events.ParseRecordName(name)
		if err != nil {
			return err
		}
		if issuer := p.archive.items[b][events.IssuerRecord(record.Issuer).String()]; issuer != nil && issuer.saved == present {
			return nil
		}
	}
	p.effect.Delete++
	p.touch(b, name, it, "deleted: it is not in the backup")
	p.step(phaseDelete, step{bucket: b, name: name, item: it, delete: true})
	return nil
}

// merge is what is written of the file's value, and notes what was taken away since. Nil: what the file has does not return.
func (p *planner) merge(b bus.Bucket, name string, it *item, saved []byte) ([]byte, error) {
	m := merged{value: saved}
	switch {
	case it.isPushedOut():
		m = merged{taken: []string{"pushed out by malformed values"}, another: true}
	case it.found != nil && len(it.found.value) > 0:
		var err error
		if m, err = merge(b, name, saved, it.found.value); err != nil {
			return nil, err
		}
	}
	list := &p.plan.Kept
	if p.options.Undo {
		list, m.value, m.another = &p.plan.Undone, saved, false
	}
	for _, what := range m.taken {
		*list = append(*list, p.named(b, name, it, what))
	}
	if m.another && it.live != present {
		return nil, nil
	}
	return m.value, nil
}

// returning says why a name is not there that returns.
func returning(it *item) string {
	if it.live == marker {
		return "returns: it was deleted"
	}
	return "returns: the values there are malformed"
}

// changing is the phase of a record that replaces another: a client or issuer gets its bounds before any key gets in, and a key that
// its record revokes, or that has ended, is dead before that. One that is disabled lets nobody in until then, and is as if it were not there.
func (p *planner) changing(b bus.Bucket, name string, it *item, value []byte) int {
	phase := giving(b, name)
	record, err := events.ParseRecordName(name)
	switch {
	case phase == phaseTrust && !isDisabled(it.found.value):
		return phaseBounds
	case phase == phaseKeys && err == nil && p.isDead(record.KeyID, value):
		return phaseDeny
	}
	return phase
}

func isDisabled(value []byte) bool {
	record, err := events.ParseIssuer(value)
	return err == nil && record.Status == events.Disabled
}

// giving is the phase of a record that lets somebody in.
func giving(b bus.Bucket, name string) int {
	switch {
	case b == bus.Clients:
		return phaseCredentials
	case strings.HasPrefix(name, events.KindKey.String()+"."):
		return phaseKeys
	}
	return phaseTrust
}

// isFetched reports whether a record is that of a key which the registry fetches from its issuer.
func isFetched(b bus.Bucket, name string, value []byte) bool {
	record, err := events.ParseRecordName(name)
	if b != bus.Keys || err != nil || record.Kind != events.KindKey {
		return false
	}
	key, err := events.ParseKey(record.KeyID, value)
	return err == nil && registry.FetchedFrom(key) != ""
}

func (p *planner) isDead(kid events.KeyID, value []byte) bool {
	key, err := events.ParseKey(kid, value)
	if err != nil {
		return false
	}
	state := key.State(p.now)
	return state == events.KeyRevoked || state == events.KeyExpired
}

func (p *planner) step(phase int, s step) { p.plan.steps[phase] = append(p.plan.steps[phase], s) }

func (p *planner) touch(b bus.Bucket, name string, it *item, what string) {
	p.plan.Touched = append(p.plan.Touched, p.named(b, name, it, what))
}

func (p *planner) named(b bus.Bucket, name string, it *item, what string) Named {
	n := Named{Bucket: b, Name: name, What: what, Revision: it.revision}
	if it.found != nil {
		n.Time, n.Caller = it.found.at.UTC(), cmp.Or(it.found.by, events.UnknownCaller)
	}
	return n
}

func (p *planner) sort() {
	for _, list := range [][]Named{p.plan.Kept, p.plan.Undone, p.plan.Touched} {
		slices.SortStableFunc(list, func(x, y Named) int { return cmp.Or(cmp.Compare(x.Bucket, y.Bucket), cmp.Compare(x.Name, y.Name)) })
	}
	for _, steps := range p.plan.steps {
		slices.SortFunc(steps, func(x, y step) int { return cmp.Or(cmp.Compare(x.bucket, y.bucket), cmp.Compare(x.name, y.name)) })
	}
}

package backup

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Options say how to restore. The zero value is the careful way.
type Options struct {
	// Undo takes back what was taken away since the backup, as far as that can be: see the package comment.
	Undo bool
	// OtherPlatform allows to put the records of one platform in the place of another's.
	OtherPlatform bool
	// Now is the clock by which revocations and used assertions are over. Nil: that of the server to which is restored.
	Now func() time.Time
}

// Effect counts the names of a bucket by what a restore does to them. It is a part of reports: members are added, not changed.
type Effect struct {
	Bucket bus.Bucket `json:"bucket"`
	Add    int        `json:"add"`    // the bucket has never had them, or has forgotten
	Change int        `json:"change"` // the bucket has other values
	Return int        `json:"return"` // they were deleted
	Delete int        `json:"delete"` // they are not in the backup
	Same   int        `json:"same"`
	Left   int        `json:"left"` // in the backup and not restored: over, coming back by itself, or something else since
}

// Named is a name and what becomes of it. It is a part of reports: members are added, not changed.
type Named struct {
	Bucket   bus.Bucket `json:"bucket"`
	Name     string     `json:"name"`
	What     string     `json:"what"`
	Revision uint64     `json:"revision"` // of the bucket, before
	Time     time.Time  `json:"time"`     // of that revision
	Caller   string     `json:"caller"`   // who wrote it
}

// Plan is what a restore does to the buckets, as they were when it was made.
type Plan struct {
	Platform Platform `json:"platform"` // of the buckets
	Effects  []Effect `json:"buckets"`
	// Kept is what was taken away since the backup and stays so, and Undone what was and is given back.
	Kept   []Named `json:"kept"`
	Undone []Named `json:"undone"`
	// Touched are the names that are changed, return or are deleted.
	Touched []Named `json:"touched"`

	steps [phases][]step
}

// Writes is how many messages the plan writes.
func (p *Plan) Writes() int {
	n := 0
	for _, steps := range p.steps {
		n += len(steps)
	}
	return n
}

// OnlyAdds reports whether the plan leaves everything as it is that the buckets have.
func (p *Plan) OnlyAdds() bool { return len(p.Touched) == 0 }

// step is one write.
type step struct {
	bucket bus.Bucket
	name   string
	item   *item
	value  []byte // instead of the file's; nil: that
	delete bool
}

// The phases of a restore, in their order: see the package comment.
const (
	phaseDeny = iota
	phaseDelete
	phaseBounds
	phaseCredentials
	phaseKeys
	phaseTrust
	phases
)

// Plan compares the file with the buckets. It changes nothing.
func (a *Archive) Plan(ctx context.Context, live Source, o Options, meter Meter) (*Plan, error) {
	p := &planner{archive: a, options: o, plan: &Plan{Kept: []Named{}, Undone: []Named{}, Touched: []Named{}}}
	for _, b := range order() {
		var err error
		if p.now, err = a.look(ctx, live, b, meter); err != nil {
			return nil, err
		}
	}
	if o.Now != nil {
		p.now = o.Now()
	}
	if err := p.samePlatform(); err != nil {
		return nil, err
	}
	for _, b := range order() {
		p.effect = Effect{Bucket: b}
		for name, it := range a.items[b] {
			if err := p.decide(b, name, it); err != nil {
				return nil, fmt.Errorf("record %s of %s: %w", name, b, err)
			}
		}
		p.plan.Effects = append(p.plan.Effects, p.effect)
	}
	p.sort()
	return p.plan, nil
}

// look reads a bucket, and returns when that began, by the clock of the server.
func (a *Archive) look(ctx context.Context, live Source, b bus.Bucket, meter Meter) (time.Time, error) {
	x, err := live.Extent(ctx, b)
	if err != nil {
		return time.Time{}, err
	}
	items := a.items[b]
	for _, it := range items {
		it.reset()
	}
	add, end := meter.start("comparing "+string(b), int(x.Messages))
	defer end()
	_, err = live.Read(ctx, b, func(e events.Entry) error {
		add(1)
		r := ruleOf(b, e.Name)
		if r == ruleLeave {
			return nil
		}
		it := items[e.Name]
		if it == nil {
			it = new(item)
			items[strings.Clone(e.Name)] = it
		}
		it.meet(r, b, e)
		return nil
	})
	return x.Time, err
}

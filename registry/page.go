package registry

import (
	"context"
	"slices"
	"sync"

	"github.com/keyherald/keyherald/events"
)

// ActiveClients returns up to limit clients that are not disabled, by name, from the one that comes after a name on, and whether there
// are more.
func (r *Registry) ActiveClients(ctx context.Context, after events.Name, limit int) (page []*events.IssuerEntry, more bool, err error) {
	set, err := r.live(ctx)
	if err != nil {
		return nil, false, err
	}
	names := r.names.of(set)
	first, found := slices.BinarySearch(names, after)
	if found {
		first++
	}
	for _, name := range names[first:] {
		e := set.Issuer(name)
		if e == nil || e.Record.Type != events.TypeClient || e.Record.Status != events.Active {
			continue
		}
		if len(page) == limit {
			return page, true, nil
		}
		page = append(page, e)
	}
	return page, false, nil
}

// nameIndex remembers the names of all clients in order, until the set changes: who reads 100,000 clients page by page has them sorted once, and not
// for each page. That takes 16 bytes a client, in a process that has served a list.
type nameIndex struct {
	mu       sync.Mutex // one at a time does the sorting
	set      *events.Set
	revision uint64
	names    []events.Name // is not changed any more
}

func (x *nameIndex) of(set *events.Set) []events.Name {
	x.mu.Lock()
	defer x.mu.Unlock()
	revision := set.Revision() // before the visit: what is changed meanwhile is seen or not, and asks for another one
	if x.set == set && x.revision == revision {
		return x.names
	}
	var names []events.Name
	for e := range set.Issuers() {
		if e.Record.Type == events.TypeClient {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	x.set, x.revision, x.names = set, revision, slices.Clip(names)
	return x.names
}

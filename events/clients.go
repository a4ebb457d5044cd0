package events

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Clients is the fold of CLIENTS, by the rules of [Set]: per name the last valid message of the retained ones counts. One goroutine
// at a time may call Apply; lookups take no lock. It holds what clients authenticate with, and not their profiles: there may be a
// hundred thousand of them.
type Clients struct {
	revision atomic.Uint64
	clients  *table[Name, clientSlot]

	mu       sync.RWMutex // for Apply and Rejected
	rejected map[string]Rejected
}

type clientSlot struct {
	record    atomic.Pointer[Client]
	malformed uint8
}

// NewClients returns an empty fold.
func NewClients() *Clients {
	return &Clients{clients: newTable[Name, clientSlot](), rejected: map[string]Rejected{}}
}

// Revision is the revision of the last message applied.
func (c *Clients) Revision() uint64 { return c.revision.Load() }

// Client returns the record of a client, or nil. It must not be changed.
func (c *Clients) Client(name Name) *Client {
	if slot := c.clients.get(name); slot != nil {
		return slot.record.Load()
	}
	return nil
}

// Rejected returns the messages that were not taken; see [Set.Rejected].
func (c *Clients) Rejected() []Rejected {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Collect(maps.Values(c.rejected))
}

// Apply folds one message in; see [Set.Apply].
func (c *Clients) Apply(e Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Revision <= c.revision.Load() {
		return
	}
	defer c.revision.Store(e.Revision)
	name, err := ParseName(e.Name)
	var record *Client
	if err == nil && !e.Deleted {
		record, err = ParseClient(e.Value)
	}
	slot := c.clients.get(name)  // nil for what is not a name
	if err != nil && e.Deleted { // somebody cleans up a name that never meant anything
		delete(c.rejected, e.Name)
		return
	}
	if err != nil {
		c.rejected[e.Name] = e.rejected(err)
		if slot == nil {
			return
		}
		if slot.malformed++; slot.malformed >= History {
			c.clients.delete(name)
		}
		return
	}
	delete(c.rejected, e.Name)
	if record != nil {
		record.Profile = nil
	}
	if record == nil || !record.Authenticates() { // there is nothing to look up; and nothing that a malformed one could push out
		c.clients.delete(name)
		return
	}
	if slot == nil {
		slot = new(clientSlot)
		slot.record.Store(record)
		c.clients.put(name, slot)
		return
	}
	slot.malformed = 0
	slot.record.Store(record)
}

package issuer

import "sync"

// room is memory to assemble a text in, which is used again for the next one.
type room [2 << 10]byte

// rooms are those that nobody uses at the moment.
type rooms struct{ pool sync.Pool }

func (r *rooms) get() *room {
	if room, ok := r.pool.Get().(*room); ok {
		return room
	}
	return new(room)
}

func (r *rooms) put(room *room) { r.pool.Put(room) }

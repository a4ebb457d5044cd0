package events

import (
	"hash/maphash"
	"iter"
	"sync/atomic"
)

// table is a map for one writer at a time and any number of readers, who take no lock. It is a trie over the bits of a
// keyed hash: a change replaces one pointer, so its cost does not depend on how much is in the table, and names
// chosen by an attacker do not collide. A branch with one leaf left gives way to it: a table is as large as what is in it.
//
// A reader who is in a branch that was just taken out sees it as it was then: as if it had been a moment earlier.
type table[K comparable, V any] struct {
	hash func(K) uint64
	root branch[K, V]
	n    atomic.Int64
}

const (
	branchBits = 4
	branchMask = 1<<branchBits - 1
	hashBits   = 64
)

type branch[K comparable, V any] struct {
	slots [1 << branchBits]atomic.Pointer[node[K, V]]
}

// node is a leaf, or with branch an inner node. A leaf does not change; next are leaves with the very same hash.
type node[K comparable, V any] struct {
	branch *branch[K, V]
	hash   uint64
	key    K
	value  *V
	next   *node[K, V]
}

// newInner makes an inner node. It lies beside its branch: in a large table each step to another place in memory is a miss
// of the cache.
func newInner[K comparable, V any]() *node[K, V] {
	in := new(struct {
		node   node[K, V]
		branch branch[K, V]
	})
	in.node.branch = &in.branch
	return &in.node
}

func newTable[K comparable, V any]() *table[K, V] {
	seed := maphash.MakeSeed()
	return &table[K, V]{hash: func(key K) uint64 { return maphash.Comparable(seed, key) }}
}

// len is the number of keys.
func (t *table[K, V]) len() int { return int(t.n.Load()) }

// get returns the value of key, or nil.
func (t *table[K, V]) get(key K) *V {
	hash := t.hash(key)
	b := &t.root
	for shift := 0; shift < hashBits; shift += branchBits {
		n := b.slots[hash>>shift&branchMask].Load()
		if n == nil {
			return nil
		}
		if n.branch == nil {
			return n.find(hash, key)
		}
		b = n.branch
	}
	return nil
}

func (n *node[K, V]) find(hash uint64, key K) *V {
	for ; n != nil; n = n.next {
		if n.hash == hash && n.key == key {
			return n.value
		}
	}
	return nil
}

// put sets the value of key. Only one put or delete may run at a time.
func (t *table[K, V]) put(key K, value *V) {
	leaf := &node[K, V]{hash: t.hash(key), key: key, value: value}
	b := &t.root
	for shift := 0; ; shift += branchBits {
		slot := &b.slots[leaf.hash>>shift&branchMask]
		n := slot.Load()
		switch {
		case n == nil:
			slot.Store(leaf)
			t.n.Add(1)
			return
		case n.branch != nil:
			b = n.branch
		case n.hash == leaf.hash:
			if n.find(leaf.hash, key) == nil {
				t.n.Add(1)
			}
			leaf.next = n.without(key)
			slot.Store(leaf)
			return
		default: // two hashes that are alike so far: one level more, then go on from there
			in := newInner[K, V]()
			in.branch.slots[n.hash>>(shift+branchBits)&branchMask].Store(n)
			slot.Store(in)
			b = in.branch
		}
	}
}

// without returns the list without key; nodes are copied, because readers may be in the old list.
func (n *node[K, V]) without(key K) *node[K, V] {
	if n == nil {
		return nil
	}
	if n.key == key {
		return n.next
	}
	return &node[K, V]{hash: n.hash, key: n.key, value: n.value, next: n.next.without(key)}
}

// delete removes key. Only one put or delete may run at a time.
func (t *table[K, V]) delete(key K) {
	hash := t.hash(key)
	var path [(hashBits + branchBits - 1) / branchBits]*atomic.Pointer[node[K, V]] // the slots that lead to the leaf, its own last
	depth := 0
	for b := &t.root; ; depth++ {
		slot := &b.slots[hash>>(depth*branchBits)&branchMask]
		path[depth] = slot
		n := slot.Load()
		if n != nil && n.branch != nil {
			b = n.branch
			continue
		}
		if n.find(hash, key) == nil {
			return
		}
		slot.Store(n.without(key))
		t.n.Add(-1)
		break
	}
	for depth--; depth >= 0; depth-- {
		leaf, ok := path[depth].Load().branch.single()
		if !ok {
			return
		}
		path[depth].Store(leaf)
	}
}

// single returns the one leaf in b, or nil if there is nothing. It reports false if there is more.
func (b *branch[K, V]) single() (leaf *node[K, V], ok bool) {
	for i := range b.slots {
		n := b.slots[i].Load()
		if n == nil {
			continue
		}
		if leaf != nil || n.branch != nil {
			return nil, false
		}
		leaf = n
	}
	return leaf, true
}

// all visits every value, in no order. What is changed meanwhile may or may not be seen.
func (t *table[K, V]) all() iter.Seq[*V] {
	return func(yield func(*V) bool) { t.root.each(yield) }
}

func (b *branch[K, V]) each(yield func(*V) bool) bool {
	for i := range b.slots {
		n := b.slots[i].Load()
		if n != nil && n.branch != nil {
			if !n.branch.each(yield) {
				return false
			}
			continue
		}
		for ; n != nil; n = n.next {
			if !yield(n.value) {
				return false
			}
		}
	}
	return true
}

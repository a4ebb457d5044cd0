package events

import (
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// branches is how many branches the table has, its root included.
func (t *table[K, V]) branches() int { return t.root.count() }

func (b *branch[K, V]) count() int {
	n := 1
	for i := range b.slots {
		if at := b.slots[i].Load(); at != nil && at.branch != nil {
			n += at.branch.count()
		}
	}
	return n
}

// hashes are ways to hash a number: a good one, and ones that collide.
var hashes = map[string]func() func(int) uint64{
	"a good hash": func() func(int) uint64 {
		seed := maphash.MakeSeed()
		return func(k int) uint64 { return maphash.Comparable(seed, k) }
	},
	"one hash for all":              func() func(int) uint64 { return func(int) uint64 { return 0xdeadbeef } },
	"three hashes":                  func() func(int) uint64 { return func(k int) uint64 { return uint64(k % 3) } },
	"hashes that differ at the end": func() func(int) uint64 { return func(k int) uint64 { return uint64(k%20) << 59 } },
	"hashes that differ in the last bit, or not": func() func(int) uint64 {
		return func(k int) uint64 { return uint64(k%2) << 63 }
	},
}

func TestATableIsAMap(t *testing.T) {
	for name, hash := range hashes {
		t.Run("with "+name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, 4))
			table := newTable[int, int]()
			table.hash = hash()
			model := map[int]int{}
			for n := range 20_000 {
				key := rnd.IntN(60)
				switch rnd.IntN(3) {
				case 0, 1:
					value := n
					table.put(key, &value)
					model[key] = value
				case 2:
					table.delete(key)
					delete(model, key)
				}
				probe := rnd.IntN(70)
				got, want := table.get(probe), model[probe]
				if _, ok := model[probe]; ok != (got != nil) || ok && *got != want {
					t.Fatalf("after %d changes key %d is %v, want %d (%v)", n+1, probe, got, want, ok)
				}
				if table.len() != len(model) {
					t.Fatalf("after %d changes there are %d keys, want %d", n+1, table.len(), len(model))
				}
				if n%100 == 0 {
					var all []int
					for v := range table.all() {
						all = append(all, *v)
					}
					slices.Sort(all)
					if want := slices.Sorted(maps.Values(model)); !slices.Equal(all, want) {
						t.Fatalf("after %d changes the values are %v, want %v", n+1, all, want)
					}
				}
			}
			for key := range model {
				table.delete(key)
			}
			if table.len() != 0 || table.branches() != 1 {
				t.Errorf("the empty table has %d keys and %d branches", table.len(), table.branches())
			}
		})
	}
}

func TestATableIsAsLargeAsWhatIsInIt(t *testing.T) {
	table := newTable[int, int]()
	value := 0
	fill := func(from, n int) {
		for k := range n {
			table.put(from+k, &value)
		}
	}
	fill(0, 1000)
	small := table.branches()
	fill(1000, 50_000)
	if n := table.branches(); n < 10*small {
		t.Fatalf("%d branches after %d: the test tests nothing", n, small)
	}
	for k := range 50_000 {
		table.delete(1000 + k)
	}
	if n := table.branches(); n != small {
		t.Errorf("%d branches, were %d with the same keys", n, small)
	}
}

func TestAListingCanBeLeft(t *testing.T) {
	table := newTable[int, int]()
	table.hash = func(k int) uint64 { return uint64(k % 7) }
	for k := range 100 {
		table.put(k, &k)
	}
	for stop := range 100 {
		n := 0
		for range table.all() {
			if n++; n > stop {
				break
			}
		}
		if n != stop+1 {
			t.Fatalf("left after %d values, want %d", n, stop+1)
		}
	}
}

// While one goroutine changes the table, the others must always find what stays, with a value of its own, and never what was
// never there.
func TestATableIsReadWhileItChanges(t *testing.T) {
	for name, hash := range hashes {
		t.Run("with "+name, func(t *testing.T) {
			table := newTable[int, int]()
			table.hash = hash()
			const stay, all, rounds = 20, 60, 3000
			values := make([]int, all)
			for k := range all {
				values[k] = k
				table.put(k, &values[k])
			}
			done := make(chan struct{})
			var readers sync.WaitGroup
			for range 3 {
				readers.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						if err := checkTable(table, stay, all); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			rnd := rand.New(rand.NewPCG(5, 6))
			for range rounds {
				k := rnd.IntN(all)
				if fresh := k; k < stay || rnd.IntN(2) == 0 {
					table.put(k, &fresh)
				} else {
					table.delete(k)
				}
			}
			close(done)
			readers.Wait()
		})
	}
}

func checkTable(table *table[int, int], stay, all int) error {
	for k := range all {
		v := table.get(k)
		if v == nil && k < stay || v != nil && *v != k {
			return fmt.Errorf("key %d has the value %v", k, v)
		}
	}
	if v := table.get(all); v != nil {
		return fmt.Errorf("key %d is there", all)
	}
	seen := map[int]int{}
	for v := range table.all() {
		seen[*v]++
	}
	for k := range stay {
		if seen[k] != 1 {
			return fmt.Errorf("the listing has key %d %d times", k, seen[k])
		}
	}
	return nil
}

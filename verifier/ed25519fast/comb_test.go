package ed25519fast

import (
	"fmt"
	"math/big"
	"slices"
	"testing"
)

var (
	one   = big.NewInt(1)
	bigL  = bigOf(order[:])
	combs = map[string]comb{"of a key": keyComb, "of the base point": baseComb}
)

// bigOf makes a number of words, the lowest first.
func bigOf(words []uint64) *big.Int {
	n := new(big.Int)
	for _, w := range slices.Backward(words) {
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(w))
	}
	return n
}

// bytesOf is n as RFC 8032 encodes integers.
func bytesOf(n *big.Int) []byte {
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

// edgeScalars are the numbers near 0, near L, near powers of two and near their sums, all less than L.
func edgeScalars() (scalars []*big.Int) {
	add := func(n *big.Int) {
		for d := int64(-2); d <= 2; d++ {
			if m := new(big.Int).Add(n, big.NewInt(d)); m.Sign() >= 0 && m.Cmp(bigL) < 0 {
				scalars = append(scalars, m)
			}
		}
	}
	add(new(big.Int))
	add(bigL)
	add(new(big.Int).Rsh(bigL, 1))
	for i := uint(1); i <= 252; i++ {
		add(new(big.Int).Lsh(one, i))
		add(new(big.Int).Sub(bigL, new(big.Int).Lsh(one, i)))
	}
	for _, period := range []uint{2, 3, 4, 11, 16, 64} { // one bit in so many set, or one not
		n := new(big.Int)
		for i := uint(0); i < 252; i += period {
			n.SetBit(n, int(i), 1)
		}
		add(n)
		add(new(big.Int).Xor(n, new(big.Int).Sub(new(big.Int).Lsh(one, 252), one)))
	}
	return scalars
}

func randomScalars(n int) (scalars []*big.Int) {
	r := random(1)
	for range n {
		scalars = append(scalars, new(big.Int).Mod(new(big.Int).SetBytes(randomBytes(r, 64)), bigL))
	}
	return scalars
}

// multiples says of every entry of a comb's tables which multiple of P it is meant to be, by the definition in the package comment.
func (c comb) multiples() (multiples []*big.Int) {
	tooth := uint(0)
	for _, n := range c {
		for signs := range 1 << (n - 1) {
			sum := new(big.Int).Lsh(one, rows*(tooth+n-1))
			for i := range n - 1 {
				power := new(big.Int).Lsh(one, rows*(tooth+i))
				if signs>>i&1 == 0 {
					power.Neg(power)
				}
				sum.Add(sum, power)
			}
			multiples = append(multiples, sum)
		}
		tooth += n
	}
	return multiples
}

func TestTheCombsHaveTheSizesOfTheirTables(t *testing.T) {
	for name, want := range map[string][2]int{"of a key": {keyTables, keyEntries}, "of the base point": {baseTables, baseEntries}} {
		c, sum := combs[name], uint(0)
		for _, n := range c {
			sum += n
		}
		if len(c) != want[0] || len(c.multiples()) != want[1] || sum != teeth {
			t.Errorf("the comb %s has %d tables, %d entries and %d teeth, want %v and %d", name, len(c), len(c.multiples()), sum, want, teeth)
		}
	}
	if teeth*rows < bigL.BitLen() {
		t.Errorf("%d digits do not make a number of %d bits", teeth*rows, bigL.BitLen())
	}
}

// What is chosen for a scalar makes the scalar again, or for an even one the next: it is subtracted then.
func TestTheChosenEntriesMakeTheScalar(t *testing.T) {
	for name, c := range combs {
		multiples := c.multiples()
		for _, n := range append(edgeScalars(), randomScalars(2000)...) {
			s := newScalar(bytesOf(n))
			var chosen choices
			const first = 0
			c.choose(&chosen, first, &s)
			sum := new(big.Int)
			for row := rows - 1; row >= 0; row-- {
				sum.Lsh(sum, 1)
				for _, choice := range chosen[row][first : first+len(c)] {
					if choice.negative > 1 {
						t.Fatalf("the sign is %d", choice.negative)
					}
					if m := multiples[choice.index]; choice.negative == 1 {
						sum.Sub(sum, m)
					} else {
						sum.Add(sum, m)
					}
				}
			}
			if s.even() {
				sum.Sub(sum, one)
			}
			if sum.Cmp(n) != 0 {
				t.Fatalf("comb %s: %x becomes %x", name, n, sum)
			}
		}
	}
}

func TestTheCombsDoNotChooseInEachOthersTables(t *testing.T) {
	s := newScalar(bytesOf(randomScalars(1)[0]))
	none := choice{1<<16 - 1, 1<<16 - 1}
	for first, c := range map[int]comb{0: keyComb, keyTables: baseComb} {
		var chosen choices
		for row := range chosen {
			chosen[row] = [keyTables + baseTables]choice{none, none, none, none, none, none}
		}
		c.choose(&chosen, first, &s)
		for row := range chosen {
			for table, choice := range chosen[row] {
				if ours := first <= table && table < first+len(c); ours == (choice == none) {
					t.Errorf("from table %d on: in table %d row %d is %v", first, table, row, choice)
				}
			}
		}
	}
}

func TestReducedIsLessThanL(t *testing.T) {
	p255 := new(big.Int).Lsh(one, 255)
	numbers := append(edgeScalars(), new(big.Int).Sub(p255, big.NewInt(19)), new(big.Int).Sub(new(big.Int).Lsh(one, 256), one), p255)
	for i := uint(0); i < 256; i++ { // L with one bit changed
		numbers = append(numbers, new(big.Int).Xor(bigL, new(big.Int).Lsh(one, i)))
	}
	for d := int64(-300); d <= 300; d++ {
		numbers = append(numbers, new(big.Int).Add(bigL, big.NewInt(d)), new(big.Int).Add(new(big.Int).Lsh(bigL, 1), big.NewInt(d)))
	}
	reduced := 0
	for _, n := range numbers {
		s := newScalar(bytesOf(n))
		if got := bigOf(s[:]); got.Cmp(n) != 0 {
			t.Fatalf("%x is read as %x", n, got)
		}
		if got, want := s.reduced(), n.Cmp(bigL) < 0; got != want {
			t.Errorf("%x: reduced %v, want %v", n, got, want)
		} else if got {
			reduced++
		}
	}
	if reduced < 1000 || len(numbers)-reduced < 500 {
		t.Errorf("of %d numbers %d are reduced: the test tests little", len(numbers), reduced)
	}
	if l := "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed"; fmt.Sprintf("%x", bigL) != l {
		t.Errorf("L is %x, in RFC 8032 §5.1 it is %s", bigL, l)
	}
}

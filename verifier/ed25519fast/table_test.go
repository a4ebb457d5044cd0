package ed25519fast

import (
	"crypto/ed25519"
	"math/big"
	"testing"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// multiple is [n]P, also for a P that is not of order L, and for negative n.
func multiple(n *big.Int, p *edwards25519.Point) *edwards25519.Point {
	product := edwards25519.NewIdentityPoint()
	for i := n.BitLen() - 1; i >= 0; i-- {
		product.Add(product, product)
		if n.Bit(i) == 1 {
			product.Add(product, p)
		}
	}
	if n.Sign() < 0 {
		product.Negate(product)
	}
	return product
}

// affine are the coordinates of a point.
func affine(p *edwards25519.Point) (x, y *field.Element) {
	x, y, z, _ := p.ExtendedCoordinates()
	z.Invert(z)
	return x.Multiply(x, z), y.Multiply(y, z)
}

func checkEntry(t *testing.T, name string, e *entry, p *edwards25519.Point) {
	t.Helper()
	x, y := affine(p)
	var gotX, gotY field.Element
	gotX.Subtract(&e.sums[0], &e.sums[1])
	gotY.Add(&e.sums[0], &e.sums[1])
	// d = -121665/121666
	numerator := new(field.Element).Multiply(x, y)
	numerator.Negate(numerator.Mult32(numerator, 121665))
	product := new(field.Element).Mult32(&e.dxy, 121666)
	if gotX.Equal(x) != 1 || gotY.Equal(y) != 1 || product.Equal(numerator) != 1 {
		t.Fatalf("%s is not the multiple that it is meant to be", name)
	}
}

func checkTable(t *testing.T, table []entry, c comb, p *edwards25519.Point) {
	t.Helper()
	multiples := append(c.multiples(), one)
	if len(table) != len(multiples) {
		t.Fatalf("the table has %d entries, want %d", len(table), len(multiples))
	}
	for i, n := range multiples {
		if len(table) < 1000 || i%37 == 0 || i == len(multiples)-1 { // all take seconds
			checkEntry(t, n.String(), &table[i], multiple(n, p))
		}
	}
}

func TestTheTablesHaveTheirMultiples(t *testing.T) {
	checkTable(t, base()[:], baseComb, edwards25519.NewGeneratorPoint())
	points := lowOrder(t)
	r := random(2)
	for range 3 {
		points = append(points, new(edwards25519.Point).ScalarBaseMult(randomScalar(r)))
	}
	points = append(points, new(edwards25519.Point).Add(points[8], points[1])) // of order 8L
	for _, p := range points {
		k, err := New(p.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		checkTable(t, k.table[:], keyComb, new(edwards25519.Point).Negate(p))
	}
}

// Points are added and doubled as the library does it, also those of small order, a point and itself, and a point and its negative.
func TestPointsAreAddedAndDoubled(t *testing.T) {
	points := lowOrder(t)
	r := random(3)
	for range 4 {
		p := new(edwards25519.Point).ScalarBaseMult(randomScalar(r))
		points = append(points, p, new(edwards25519.Point).Negate(p), new(edwards25519.Point).Add(p, points[3]))
	}
	entries := make([]entry, len(points))
	values := make([]edwards25519.Point, len(points))
	for i := range points {
		values[i].Add(points[i], points[i]) // so that Z is not 1
		values[i].Subtract(&values[i], points[i])
	}
	normalize(entries, values)
	start := func(i int) (p point) {
		p.setNeutral()
		p.add(&entries[i], 0)
		return p
	}
	for i, a := range points {
		checkEntry(t, "a normalized point", &entries[i], a)
		p := start(i)
		if got := p.encode(); got != [32]byte(a.Bytes()) {
			t.Fatalf("point %d is %x, want %x", i, got, a.Bytes())
		}
		p.double()
		if want := new(edwards25519.Point).Add(a, a); p.encode() != [32]byte(want.Bytes()) {
			t.Fatalf("point %d, twice, is %x, want %x", i, p.encode(), want.Bytes())
		}
		for j, b := range points {
			p := start(i)
			p.add(&entries[j], 0)
			if want := new(edwards25519.Point).Add(a, b); p.encode() != [32]byte(want.Bytes()) {
				t.Fatalf("point %d plus %d is %x, want %x", i, j, p.encode(), want.Bytes())
			}
			p.add(&entries[j], 1)
			p.add(&entries[j], 1)
			if want := new(edwards25519.Point).Subtract(a, b); p.encode() != [32]byte(want.Bytes()) {
				t.Fatalf("point %d minus %d is %x, want %x", i, j, p.encode(), want.Bytes())
			}
		}
	}
}

// The equation is computed exactly for integers: a scalar is not reduced in a way that loses what it does to a part of small order.
func TestTheCommitmentIsThatOfTheScalars(t *testing.T) {
	r := random(4)
	p := new(edwards25519.Point).ScalarBaseMult(randomScalar(r))
	mixed := new(edwards25519.Point).Add(p, lowOrder(t)[1])
	numbers := []*big.Int{new(big.Int), one, big.NewInt(2), big.NewInt(3), new(big.Int).Sub(bigL, one), new(big.Int).Sub(bigL, big.NewInt(2))}
	numbers = append(numbers, randomScalars(4)...)
	for name, a := range map[string]*edwards25519.Point{"of order L": p, "of order 8L": mixed, "of order 8": lowOrder(t)[1]} {
		key, err := New(a.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		check := func(h, s *big.Int) {
			t.Helper()
			hs, ss := newScalar(bytesOf(h)), newScalar(bytesOf(s))
			want := multiple(s, edwards25519.NewGeneratorPoint())
			want.Subtract(want, multiple(h, a))
			if got := key.commitment(&hs, &ss); got != [ed25519.PublicKeySize]byte(want.Bytes()) {
				t.Errorf("A %s: [%x](-A) + [%x]B is %x, want %x", name, h, s, got, want.Bytes())
			}
		}
		for _, h := range numbers {
			for _, s := range numbers {
				check(h, s)
			}
		}
		for _, n := range edgeScalars() {
			if n.BitLen()%8 == 0 { // all take long
				check(n, numbers[8])
				check(numbers[9], n)
			}
		}
	}
}

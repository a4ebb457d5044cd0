package ed25519fast

import (
	"math/bits"
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// Both kinds of table have the multiples of a point P that a comb chooses from, and at the end P itself.
type (
	keyTable  [keyEntries + 1]entry
	baseTable [baseEntries + 1]entry
)

// base is built when the first key is, in the time of some 25 verifications, and takes 360 KiB.
var base = sync.OnceValue(func() *baseTable {
	t := new(baseTable)
	fill(t[:], baseComb, edwards25519.NewGeneratorPoint())
	return t
})

// curve returns 1/2, and the d of RFC 8032 §5.1.
var curve = sync.OnceValues(func() (half, d *field.Element) {
	one := new(field.Element).One()
	quotient := func(a, b uint32) *field.Element {
		inverse := new(field.Element).Mult32(one, b)
		return inverse.Multiply(inverse.Invert(inverse), new(field.Element).Mult32(one, a))
	}
	d = quotient(121665, 121666)
	return quotient(1, 2), d.Negate(d)
})

// fill makes the table of p for a comb.
func fill(table []entry, c comb, p *edwards25519.Point) {
	points := make([]edwards25519.Point, 0, len(table))
	power := *p // [2^(rows·tooth)]P
	for _, n := range c {
		first := len(points)
		lowest := edwards25519.NewIdentityPoint() // with all signs minus, but for the last
		twice := make([]edwards25519.Point, n)
		for i := range twice {
			lowest.Subtract(lowest, &power)
			twice[i].Add(&power, &power)
			power = twice[i]
			for range rows - 1 {
				power.Add(&power, &power)
			}
		}
		points = append(points, *lowest.Add(lowest, &twice[n-1]))
		for i := uint(1); i < 1<<(n-1); i++ {
			var next edwards25519.Point // with one sign more turned to plus
			points = append(points, *next.Add(&points[first+int(i&(i-1))], &twice[bits.TrailingZeros(i)]))
		}
	}
	normalize(table, append(points, *p))
}

// normalize makes entries of points. It inverts all their Z at once (Montgomery's trick): the product is inverted, and multiplied by
// all Z but one.
func normalize(table []entry, points []edwards25519.Point) {
	half, d := curve()
	products := make([]field.Element, len(points)) // of the Z before
	inverse := new(field.Element).One()
	for i := range points {
		_, _, z, _ := points[i].ExtendedCoordinates()
		products[i] = *inverse
		inverse.Multiply(inverse, z)
	}
	inverse.Invert(inverse)
	for i := len(points) - 1; i >= 0; i-- {
		x, y, z, _ := points[i].ExtendedCoordinates()
		products[i].Multiply(&products[i], inverse) // now 1/z
		inverse.Multiply(inverse, z)
		x.Multiply(x, &products[i])
		y.Multiply(y, &products[i])
		e := &table[i]
		e.dxy.Multiply(e.dxy.Multiply(x, y), d)
		x.Multiply(x, half)
		y.Multiply(y, half)
		e.sums[0].Add(y, x)
		e.sums[1].Subtract(y, x)
	}
}

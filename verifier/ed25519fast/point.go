package ed25519fast

import "filippo.io/edwards25519/field"

// entry is an affine point of a table, in the form in which it is added with three multiplications.
type entry struct {
	sums [2]field.Element // (y+x)/2 and (y-x)/2; for the negative point the other way round
	dxy  field.Element    // d·x·y; for the negative point the same with a minus sign
}

// point is what a formula of Hisil et al. has found before its last step, which would multiply out the extended coordinates X = EF,
// Y = GH, T = EH and Z = FG. The next formula does that with those that it needs: a doubling takes no T.
type point struct {
	e, h field.Element
	fg   [2]field.Element
}

func (p *point) setNeutral() {
	p.e.Zero()
	p.h.One()
	p.fg[0].One()
	p.fg[1].One()
}

// add adds q, or its negative if negative is 1. It is Hisil et al. §3.1 with k = 2d and halved A, B, C and D, so that Z is not to be
// doubled.
func (p *point) add(q *entry, negative uint16) {
	var x, y, z, t, a, b field.Element
	x.Multiply(&p.e, &p.fg[0])
	y.Multiply(&p.h, &p.fg[1])
	z.Multiply(&p.fg[0], &p.fg[1])
	t.Multiply(&p.e, &p.h)
	a.Multiply(a.Subtract(&y, &x), &q.sums[1^negative&1])
	b.Multiply(b.Add(&y, &x), &q.sums[negative&1])
	t.Multiply(&t, &q.dxy)
	p.e.Subtract(&b, &a)
	p.h.Add(&b, &a)
	p.fg[negative&1].Subtract(&z, &t)
	p.fg[1^negative&1].Add(&z, &t)
}

// double is Hisil et al. §3.3 with the signs of F and H changed, and 2XY for (X+Y)² - X² - Y².
func (p *point) double() {
	var x, y, z field.Element
	x.Multiply(&p.e, &p.fg[0])
	y.Multiply(&p.h, &p.fg[1])
	z.Multiply(&p.fg[0], &p.fg[1])
	p.e.Multiply(&x, &y)
	p.e.Add(&p.e, &p.e)
	x.Square(&x)
	y.Square(&y)
	z.Square(&z)
	z.Add(&z, &z)
	p.h.Add(&y, &x)
	p.fg[1].Subtract(&y, &x)
	p.fg[0].Subtract(&z, &p.fg[1])
}

// encode returns the encoding of RFC 8032 §5.1.2.
func (p *point) encode() [32]byte {
	var x, y, z field.Element
	z.Invert(z.Multiply(&p.fg[0], &p.fg[1]))
	x.Multiply(x.Multiply(&p.e, &p.fg[0]), &z)
	y.Multiply(y.Multiply(&p.h, &p.fg[1]), &z)
	b := [32]byte(y.Bytes())
	b[31] |= byte(x.IsNegative() << 7)
	return b
}

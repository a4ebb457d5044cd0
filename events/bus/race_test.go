//go:build race

package bus_test

// defaultSeeds is how many seeds a simulation runs under the race detector, which makes it ten times slower.
const defaultSeeds = 200

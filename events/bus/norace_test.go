//go:build !race

package bus_test

// defaultSeeds is how many seeds a simulation runs.
const defaultSeeds = 2000

//go:build !race

package faults_test

// raceEnabled says that the race detector looks on.
const raceEnabled = false

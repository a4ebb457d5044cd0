package main

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	promise    = regexp.MustCompile(`(?m)^\| (P\d) \| [^|]+ \| ([^|]+) \|$`)
	quoted     = regexp.MustCompile("`([^`]+)`")
	testName   = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)\w*…?$`)
	directory  = regexp.MustCompile(`^[a-z0-9/]+$`)
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`)
	ofPromises = regexp.MustCompile(`^Test(?:[A-Z]_)?(P\d)_`)
)

// testsByDirectory are the names of all tests, fuzz targets and benchmarks.
func testsByDirectory(t *testing.T) map[string][]string {
	t.Helper()
	tests, root := map[string][]string{}, os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, name)
		for _, f := range testFunc.FindAllSubmatch(text, -1) {
			tests[path.Dir(name)] = append(tests[path.Dir(name)], string(f[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// located is a test in a directory. A name that ends with … is of all tests that begin so.
type located struct{ dir, name string }

// testsNamed reads a cell of the README's table: directories, then what is in each of them, and so on.
func testsNamed(cell string) (all []located) {
	var in []string
	complete := false // the list of directories
	for _, word := range quoted.FindAllStringSubmatch(cell, -1) {
		switch {
		case testName.MatchString(word[1]):
			complete = true
			for _, dir := range in {
				all = append(all, located{dir, word[1]})
			}
		case directory.MatchString(word[1]):
			if complete {
				in, complete = nil, false
			}
			in = append(in, word[1])
		}
	}
	return all
}

// TestEveryPromiseNamesItsTests: those that the README's table names are there, and those that are there and have a promise's number in their name are in
// its row.
func TestEveryPromiseNamesItsTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testsByDirectory(t)
	rowOf := map[string]map[located]bool{}
	for _, row := range promise.FindAllStringSubmatch(string(text), -1) {
		rowOf[row[1]] = map[located]bool{}
		for _, named := range testsNamed(row[2]) {
			found := false
			for _, have := range tests[named.dir] {
				if prefix, open := strings.CutSuffix(named.name, "…"); have == prefix || open && strings.HasPrefix(have, prefix) {
					rowOf[row[1]][located{named.dir, have}], found = true, true
				}
			}
			if !found {
				t.Errorf("%s: there is no %s in %s", row[1], named.name, named.dir)
			}
		}
	}
	for _, p := range []string{"P1", "P2", "P3", "P4", "P5", "P6", "P7"} {
		if len(rowOf[p]) == 0 {
			t.Errorf("%s names no test", p)
		}
	}
	for dir, have := range tests {
		for _, name := range have {
			if of := ofPromises.FindStringSubmatch(name); of != nil && !rowOf[of[1]][located{dir, name}] {
				t.Errorf("%s does not name %s in %s", of[1], name, dir)
			}
		}
	}
}

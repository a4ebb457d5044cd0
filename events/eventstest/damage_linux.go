package eventstest

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// FlipBit changes one bit of a file of a node's store, as a disk does that nobody has asked. It returns which file it was, and nothing if there
// is none. The name is a pattern, such as *.blk, of files of a bucket's stream and of the log from which nodes make it.
func (n *Node) FlipBit(t testing.TB, name string, random *rand.Rand) string {
	t.Helper()
	return n.damage(t, name, random, func(content []byte) []byte {
		content[random.IntN(len(content))] ^= 1 << random.IntN(8)
		return content
	})
}

// Truncate cuts a file of a node's store off, somewhere.
func (n *Node) Truncate(t testing.TB, name string, random *rand.Rand) string {
	t.Helper()
	return n.damage(t, name, random, func(content []byte) []byte { return content[:random.IntN(len(content))] })
}

func (n *Node) damage(t testing.TB, name string, random *rand.Rand, how func([]byte) []byte) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(n.Store(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		match, err := filepath.Match(name, d.Name())
		if info, statErr := d.Info(); match && statErr == nil && info.Size() > 0 {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		return ""
	}
	path := files[random.IntN(len(files))]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

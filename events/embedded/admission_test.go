package embedded

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// TestUsersAreReadOnlyWhenTheyHaveChangedAndDamageIsSaidOnce looks by hand at what the server looks at by itself.
func TestUsersAreReadOnlyWhenTheyHaveChangedAndDamageIsSaidOnce(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	a := &admission{
		server: &Server{dir: &directory{path: dir}, door: &door{}}, path: filepath.Join(dir, usersFile), log: zerolog.New(&log),
	}
	applied := filepath.Join(dir, appliedFile)
	look := func(what string, want bool) {
		t.Helper()
		if err := os.Remove(applied); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		a.look()
		if _, err := os.Stat(applied); (err == nil) != want {
			t.Errorf("%s: applied is %t", what, err == nil)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := writeFile(a.path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	look("no file", false)
	write(`{"users":[]}`)
	look("a new file", true)
	look("the same file", false)
	write(`not json`)
	look("a damaged file", false)
	look("a damaged file, again", false)
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	write(`{"users":[]}`)
	look("a file that was restored", true)
	if err := os.Remove(a.path); err != nil {
		t.Fatal(err)
	}
	look("a file that is gone", true)
}

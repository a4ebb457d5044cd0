package main

import (
	"os/exec"
	"testing"
)

// TestShellWordsAreReadAsOneWord asks a shell.
func TestShellWordsAreReadAsOneWord(t *testing.T) {
	for _, word := range []string{"/srv/keyherald/d", "my keys", "it's", "$HOME;`id`*?", "", "a\nb", "-n", `back\slash`} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellWord(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("the shell reads %s as %q (error %v), want %q", shellWord(word), out, err, word)
		}
	}
}

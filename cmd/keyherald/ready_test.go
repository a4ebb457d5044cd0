package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/eventstest"
)

func TestReadyTellsWhetherAServerAnswersNow(t *testing.T) {
	t.Parallel()
	addr, gate := eventstest.FreeAddress(t), eventstest.FreeAddress(t)
	dir := filepath.Join(t.TempDir(), "d")
	startProcess(t, "gate", "--data", dir, "--audience", "https://billing", "--listen", gate)
	within(t, "the gate listens, and has no key set yet", func() bool {
		_, errs, err := runCLI("", "ready", "http://"+gate)
		return exitOf(err) == exitFailed && strings.Contains(errs, "not ready: 503")
	})
	startServe(t, dir, addr, "127.0.0.1:0")
	within(t, "the gate has the key set", func() bool {
		_, _, err := runCLI("", "ready", "http://"+gate+"/")
		return err == nil
	})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	for name, tc := range map[string]struct {
		args []string
		exit int
		errs string
	}{
		"a token service":               {[]string{"http://" + addr}, 0, ""},
		"nobody there":                  {[]string{"http://" + eventstest.FreeAddress(t)}, exitFailed, "hint: is a keyherald serve or gate running there?"},
		"a server that does not answer": {[]string{silent.URL, "--timeout", "1s"}, exitFailed, "deadline exceeded"},
		"what is not a URL":             {[]string{"http://[", "--timeout", "1s"}, exitUsage, "cannot be read"},
		"no time":                       {[]string{"--timeout", "0s"}, exitUsage, "leaves no time"},
	} {
		out, errs, err := runCLI("", append([]string{"ready"}, tc.args...)...)
		if exitOf(err) != tc.exit || out != "" || !strings.Contains(errs, tc.errs) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", name, exitOf(err), tc.exit, tc.errs, out, errs)
		}
	}
}

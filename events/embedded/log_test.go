package embedded

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestServerLogLevels(t *testing.T) {
	for name, c := range map[string]struct {
		write func(*serverLog)
		level string
	}{
		"notice":  {func(l *serverLog) { l.Noticef("n %d", 1) }, "debug"},
		"debug":   {func(l *serverLog) { l.Debugf("n %d", 1) }, "debug"},
		"trace":   {func(l *serverLog) { l.Tracef("n %d", 1) }, "trace"},
		"warning": {func(l *serverLog) { l.Warnf("n %d", 1) }, "warn"},
		"error":   {func(l *serverLog) { l.Errorf("n %d", 1) }, "warn"},
		"fatal":   {func(l *serverLog) { l.Fatalf("n %d", 1) }, "warn"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			c.write(&serverLog{out: zerolog.New(&out)})
			want := `{"level":"` + c.level + `","component":"nats-server","message":"n 1"}` + "\n"
			if out.String() != want {
				t.Errorf("logged %s, want %s", out.String(), want)
			}
			out.Reset()
			c.write(&serverLog{out: zerolog.New(&out).Level(zerolog.ErrorLevel)})
			if out.String() != "" {
				t.Errorf("a logger at level error logged %s", out.String())
			}
			c.write(&serverLog{}) // silent, and no crash
		})
	}
}

func TestTheFirstFatalMessageIsKept(t *testing.T) {
	l := &serverLog{}
	if err := l.fatal(); err != nil {
		t.Errorf("fatal before anything: %v", err)
	}
	l.Fatalf("cannot %s", "listen")
	l.Fatalf("cannot stop")
	if err := l.fatal(); err == nil || err.Error() != "cannot listen" {
		t.Errorf("fatal is %v", err)
	}
}

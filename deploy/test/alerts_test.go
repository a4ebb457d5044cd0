package deploy

import (
	"bufio"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestTheAlertsFireWhenTheyShould has Prometheus' own promtool read the rules, and run them over made-up series.
func TestTheAlertsFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", "../alerts.yaml"}, {"test", "rules", "testdata/alerts_test.yaml"}} {
		out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %v (of the package prometheus): %v\n%s", args, err, out)
		}
	}
}

var (
	metricName  = regexp.MustCompile(`\bkeyherald_[a-z_]+`)
	labelValues = regexp.MustCompile(`(\w+)=~?"([^"]+)"`)
)

// TestEveryMetricOfTheAlertsIsThere looks for each name, and each value of a label, in what a node and a gate really say.
func TestEveryMetricOfTheAlertsIsThere(t *testing.T) {
	w := &world{t: t, binary: buildKeyherald(t), helps: map[string]string{}}
	t.Parallel()
	w.startBoth()
	cmd := exec.CommandContext(t.Context(), w.binary, "issuer", "add", "login", "--iss", "https://login.example", "--use", "assertion", "--jwks-uri", "https://127.0.0.1:1/", "--data", w.data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	resp, err := http.PostForm(w.issuer+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_secret": {"x"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	var said string
	w.eventually("a refresh has failed", func() bool {
		said = w.scrape(w.issuer) + w.scrape(w.gate)
		return strings.Contains(said, "keyherald_refresh_failing{")
	})
	rules, err := os.ReadFile("../alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	names := metricName.FindAllString(string(rules)+string(guide), -1)
	if len(names) < 20 {
		t.Fatalf("metrics: %v", names)
	}
	for _, name := range names {
		if !strings.Contains(said, "\n"+name+"{") && !strings.Contains(said, "\n"+name+" ") {
			t.Errorf("there is no metric %s", name)
		}
	}
	codes := []string{"temporarily_unavailable", "server_error", "throttled"} // that a node that is well does not say
	for _, label := range labelValues.FindAllStringSubmatch(string(rules), -1) {
		for value := range strings.SplitSeq(label[2], "|") {
			if !strings.Contains(said, label[1]+`="`+value+`"`) && !slices.Contains(codes, value) {
				t.Errorf("no metric has %s=%q", label[1], value)
			}
		}
	}
}

// TestEveryAlertSaysWhatToDo: it is in the operations guide by its name.
func TestEveryAlertSaysWhatToDo(t *testing.T) {
	text, err := os.ReadFile("../alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("%v: %+v", err, file)
	}
	for _, rule := range file.Groups[0].Rules {
		if !strings.Contains(string(guide), "`"+rule.Alert+"`") {
			t.Errorf("OPERATIONS.md does not say what to do about %s", rule.Alert)
		}
	}
	for _, name := range regexp.MustCompile("`(Keyherald[A-Z][A-Za-z]+)`").FindAllStringSubmatch(string(guide), -1) {
		if !strings.Contains(string(text), "alert: "+name[1]+"\n") {
			t.Errorf("OPERATIONS.md has an alert %s, and alerts.yaml has not", name[1])
		}
	}
}

// scrape returns what Prometheus would get, each metric at the beginning of a line.
func (w *world) scrape(base string) string {
	w.t.Helper()
	resp, err := http.Get(base + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		text.WriteString("\n" + s.Text())
	}
	return text.String() + "\n"
}

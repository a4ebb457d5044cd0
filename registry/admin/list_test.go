package admin_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
	"github.com/keyherald/keyherald/registry/admin"
)

func ids(list map[string]any) (ids []string) {
	for _, c := range list["clients"].([]any) {
		ids = append(ids, c.(map[string]any)["clientId"].(string))
	}
	return ids
}

func next(list map[string]any) string {
	p, _ := list["pagination"].(map[string]any)["next"].(map[string]any)
	cursor, _ := p["cursor"].(string)
	return cursor
}

func TestAListComesInPages(t *testing.T) {
	w := newWorld(t)
	want := []string{"sc_admin"}
	for i := range 24 {
		id := events.Name(fmt.Sprintf("c%02d", i))
		spec := registry.ClientSpec{Profile: &events.Profile{Name: "Client " + string(id)}}
		if _, err := w.reg.CreateClient(t.Context(), alice, id, spec); err != nil {
			t.Fatal(err)
		}
		want = append(want, string(id))
	}
	slices.Sort(want)
	for query, size := range map[string]int{"": 20, "limit=1": 1, "limit=7": 7, "limit=25": 25, "limit=100": 25, "limit=1000000": 25, "limit=99999999999999999999": 25} {
		var got []string
		for cursor, pages := "", 0; ; pages++ {
			list := w.call("reader", "GET", "/v1/clients?"+query+"&cursor="+cursor, "").json(200)
			page := ids(list)
			if len(page) > size || pages == 0 && len(page) != size {
				t.Fatalf("%s: a page of %d", query, len(page))
			}
			for _, c := range list["clients"].([]any) {
				c := c.(map[string]any)
				if c["clientId"] != "sc_admin" && c["name"] != "Client "+c["clientId"].(string) {
					t.Errorf("%s is called %s", c["clientId"], c["name"])
				}
			}
			got = append(got, page...)
			if cursor = next(list); cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", query, got)
		}
	}
	for _, query := range []string{"limit=0", "limit=-1", "limit=-99999999999999999999", "limit=ten", "limit=1.5", "limit=1&limit=2", "cursor=a&cursor=b"} {
		w.call("reader", "GET", "/v1/clients?"+query, "").problem(400, "invalid-request")
	}
}

// The class of CVE-2026-33504 (a forged pagination token got into a query): a cursor is taken only if it was made here for this caller.
func TestC_CursorsAreOpaqueAndAuthenticated(t *testing.T) {
	w := newWorld(t)
	for _, id := range []events.Name{"a", "b", "c"} {
		w.client(id, "")
	}
	w.client("sc_other", "clients:read")
	cursor := next(w.call("reader", "GET", "/v1/clients?limit=1", "").json(200))
	if got := ids(w.call("reader", "GET", "/v1/clients?limit=1&cursor="+cursor, "").json(200)); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("the second page has %v", got)
	}
	for name, forged := range map[string]string{
		"a name":            "a",
		"an encoded name":   base64.RawURLEncoding.EncodeToString([]byte("a")),
		"cut off":           cursor[:len(cursor)-1],
		"longer":            cursor + "A",
		"an injection":      "'%20OR%201=1--",
		"a subject":         "issuer.%3E",
		"4 KiB":             strings.Repeat("A", 4<<10),
		"a control byte":    "%00",
		"a changed letter":  strings.ToUpper(cursor[:1]) + "x" + cursor[2:],
		"percent encodings": "%2561",
	} {
		r := w.call("reader", "GET", "/v1/clients?limit=1&cursor="+forged, "")
		if r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
			continue
		}
		r.problem(400, "invalid-cursor")
	}
	w.call("other", "GET", "/v1/clients?limit=1&cursor="+cursor, "").problem(400, "invalid-cursor")
	w.cursors.made["sc_admincrafted"] = "not/a.name"
	w.call("reader", "GET", "/v1/clients?cursor=crafted", "").problem(400, "invalid-cursor")
	w.cursors.err = admin.ErrUndecided
	w.call("reader", "GET", "/v1/clients?limit=1&cursor="+cursor, "").problem(503, "unavailable")
	w.call("reader", "GET", "/v1/clients?limit=1", "").problem(503, "unavailable")
}

// Whoever makes cursors parses and verifies what came: not of any size.
func TestC_ACursorThatIsTooLongIsNotLookedAt(t *testing.T) {
	w := newWorld(t)
	w.client("b", "")
	longest, longer := strings.Repeat("A", 2<<10), strings.Repeat("A", 2<<10+1)
	for _, cursor := range []string{longest, longer} {
		w.cursors.made["sc_admin"+cursor] = "a"
	}
	get := func(cursor string) *response { return w.call("reader", "GET", "/v1/clients?cursor="+cursor, "") }
	if got := ids(get(longest).json(200)); !slices.Contains(got, "b") {
		t.Errorf("the page has %v", got)
	}
	get(longer).problem(400, "invalid-cursor")
	w.cursors.err = admin.ErrUndecided
	get(longest).problem(503, "unavailable")
	get(longer).problem(400, "invalid-cursor")
}

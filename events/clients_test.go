package events

import (
	"slices"
	"strings"
	"testing"
)

func TestClientsFollowTheRulesOfTheFold(t *testing.T) {
	two := secrets(2)
	for _, c := range []struct {
		name     string
		write    func(b *bucket)
		secrets  int // of orders; -1: there is no record
		rejected []string
	}{
		{"a record that was put", func(b *bucket) { b.put("orders", secret()) }, 1, nil},
		{"a later record", func(b *bucket) { b.put("orders", secret()); b.put("orders", two) }, 2, nil},
		{"a malformed value replaces nothing", func(b *bucket) { b.put("orders", two); b.put("orders", "{") }, 2, []string{"orders"}},
		{"a valid value takes the report back", func(b *bucket) { b.put("orders", "{"); b.put("orders", two) }, 2, nil},
		{"a marker removes", func(b *bucket) { b.put("orders", two); b.del("orders") }, -1, nil},
		{"a marker takes the report back", func(b *bucket) { b.put("orders", "{"); b.del("orders") }, -1, nil},
		{"after a marker nothing comes back", func(b *bucket) { b.put("orders", two); b.del("orders"); b.put("orders", "{") }, -1, []string{"orders"}},
		{"15 malformed values leave the good one", func(b *bucket) { b.put("orders", two); putTimes(b, 15, "orders", "{") }, 2, []string{"orders"}},
		{"16 malformed values push it out", func(b *bucket) { b.put("orders", two); putTimes(b, 16, "orders", "{") }, -1, []string{"orders"}},
		{"a good one in between starts the count again", func(b *bucket) {
			b.put("orders", two)
			putTimes(b, 15, "orders", "{")
			b.put("orders", secret())
			putTimes(b, 15, "orders", "{")
		}, 1, []string{"orders"}},
		{"another client's values do not count", func(b *bucket) { b.put("orders", two); putTimes(b, 16, "stock", "{") }, 2, []string{"stock"}},
		{"a name that is none is reported until it is deleted", func(b *bucket) { b.put("a.b", two); b.put("c.d", two); b.del("a.b") }, -1, []string{"c.d"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBucket()
			c.write(b)
			for way, entries := range map[string][]Entry{"live": b.all, "fresh": b.retained(), "twice": slices.Concat(b.all, b.all)} {
				set := NewClients()
				for _, e := range entries {
					set.Apply(e)
				}
				got := -1
				if r := set.Client("orders"); r != nil {
					got = len(r.Secrets)
				}
				if got != c.secrets {
					t.Errorf("%s: %d secrets, want %d", way, got, c.secrets)
				}
				var names []string
				for _, r := range set.Rejected() {
					names = append(names, r.Name)
					if r.Reason == "" || r.Caller != UnknownCaller || r.Revision == 0 {
						t.Errorf("%s: %+v", way, r)
					}
				}
				if slices.Sort(names); !slices.Equal(names, c.rejected) {
					t.Errorf("%s: rejected %q, want %q", way, names, c.rejected)
				}
				if set.Revision() != uint64(len(b.all)) {
					t.Errorf("%s: revision %d", way, set.Revision())
				}
			}
		})
	}
}

// What is wrong with a client's record is said without what is in it.
func TestAMalformedClientRecordIsNotQuoted(t *testing.T) {
	const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for _, value := range []string{secret("exp", `0`), secret("id", `"a.b"`), secret() + "x", secret("sha256", `"`+hash+`00"`), `{"secrets":"` + hash + `"}`} {
		_, err := ParseClient([]byte(value))
		if err == nil || strings.Contains(err.Error(), hash[:16]) {
			t.Errorf("%v", err)
		}
	}
}

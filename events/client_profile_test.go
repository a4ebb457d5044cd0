package events

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const profileJSON = `{"profile":{"name":"Orders","options":{"a":[1,{"b":null}]},"tags":{"b":"2","a":"ä"},"x":1},"require_jti":true}`

func TestProfiles(t *testing.T) {
	tags := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"t%d":"v"`, i))
		}
		return `{"profile":{"tags":{` + strings.Join(list, ",") + `}}}`
	}
	for name, record := range map[string]string{
		"all of it":       profileJSON,
		"nothing in it":   `{"profile":{}}`,
		"empty members":   `{"profile":{"name":"","tags":{}}}`,
		"options":         `{"profile":{"options":{}}}`,
		"32 tags":         tags(32),
		"128 bytes":       `{"profile":{"name":` + text(128) + `,"tags":{` + text(128) + `:` + text(128) + `}}}`,
		"unknown members": `{"profile":{"x":1}}`,
	} {
		c, err := ParseClient([]byte(record))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, err := c.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back, err := ParseClient(out); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s: reads back as %+v (%v), was %+v", name, back, err, c)
		}
	}
	for record, want := range map[string]string{
		`{"profile":[]}`:                                   `"profile": json`,
		`{"profile":{"name":1}}`:                           `"name": not a string`,
		`{"profile":{"name":"a\nb"}}`:                      "control characters",
		`{"profile":{"name":` + text(129) + `}}`:           "at most 128 bytes",
		`{"profile":{"options":[]}}`:                       "options",
		`{"profile":{"options":{"a":` + text(2048) + `}}}`: "more than 2048",
		`{"profile":{"tags":[]}}`:                          `"tags": json`,
		`{"profile":{"tags":{"a":1}}}`:                     `tag "a": not a string`,
		`{"profile":{"tags":{"":"a"}}}`:                    "a tag's name or value",
		`{"profile":{"tags":{"a":"\u001b"}}}`:              "a tag's name or value",
		`{"profile":{"tags":{"a":` + text(129) + `}}}`:     "a tag's name or value",
		tags(33): "33 tags, more than 32",
		`{"profile":{"options":{"a":{"b":{"c":{"d":{"e":{"f":{}}}}}}}}}`: "nested too deeply",
	} {
		_, err := ParseClient([]byte(record))
		checkRefused(t, err, want)
	}
}

// Nodes hold what clients authenticate with: not how they are described, and nothing for those who do not authenticate.
func TestTheFoldOfClientsLeavesProfilesOut(t *testing.T) {
	set := NewClients()
	set.Apply(Entry{Name: "described", Value: []byte(`{"profile":{"name":"a"}}`), Revision: 1})
	set.Apply(Entry{Name: "both", Value: []byte(profileJSON), Revision: 2})
	if c := set.Client("described"); c != nil {
		t.Errorf("a client of a profile and nothing else is held: %+v", c)
	}
	if c := set.Client("both"); c == nil || c.Profile != nil || !c.RequireJTI {
		t.Errorf("a client with a profile is held as %+v", c)
	}
	set.Apply(Entry{Name: "both", Value: []byte(`{"profile":{"name":"a"}}`), Revision: 3})
	set.Apply(Entry{Name: "both", Value: []byte(`{`), Revision: 4}) // does not bring back what was before
	if c := set.Client("both"); c != nil {
		t.Errorf("a client that authenticates with nothing any more is held as %+v", c)
	}
}

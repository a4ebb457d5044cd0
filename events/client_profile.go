package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/keyherald/keyherald/events/strictjson"
)

// Profile is how people and their programs describe a client. Nothing is decided by it. Only the registry reads it, from the
// bucket: the fold [Clients], which every node of the token service holds, leaves it out.
type Profile struct {
	Name    string            // name: text for people
	Options json.RawMessage   // options: a JSON object, kept as it is. Nil: none
	Tags    map[string]string // tags
	Extra   Extra             // members of newer versions
}

// isZero reports whether there is nothing in the profile.
func (p *Profile) isZero() bool {
	return p == nil || p.Name == "" && len(p.Options) == 0 && len(p.Tags) == 0 && len(p.Extra) == 0
}

func parseProfile(data []byte) (*Profile, error) {
	var m members
	p := new(Profile)
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		switch string(name) {
		case "name":
			p.Name, err = strictjson.String(value)
		case "options":
			p.Options = slices.Clone(value)
		case "tags":
			p.Tags, err = parseTags(value)
		default:
			return false, nil
		}
		return true, err
	})
	p.Extra = m.extra
	if p.isZero() {
		p = nil
	}
	return p, err
}

func parseTags(data []byte) (map[string]string, error) {
	var obj strictjson.Object
	if err := obj.Parse(data); err != nil {
		return nil, err
	}
	var tags map[string]string
	for i := range obj.Len() {
		value, err := strictjson.String(obj.Value(i))
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", quote(string(obj.Name(i))), err)
		}
		if tags == nil {
			tags = map[string]string{}
		}
		tags[string(obj.Name(i))] = value
	}
	return tags, nil
}

// Validate checks the profile; nil is a valid one.
func (p *Profile) Validate() error {
	if p == nil {
		return nil
	}
	if len(p.Name) > MaxProfileName || !isText(p.Name) {
		return fmt.Errorf("name is not text of at most %d bytes without control characters", MaxProfileName)
	}
	if len(p.Options) > MaxOptions {
		return fmt.Errorf("options have %d bytes, more than %d", len(p.Options), MaxOptions)
	}
	if len(p.Options) > 0 {
		var obj strictjson.Object
		if err := obj.Parse(p.Options); err != nil {
			return fmt.Errorf("options: %w", err)
		}
	}
	if len(p.Tags) > MaxTags {
		return fmt.Errorf("%d tags, more than %d", len(p.Tags), MaxTags)
	}
	for name, value := range p.Tags {
		if name == "" || len(name) > MaxTag || len(value) > MaxTag || !isText(name) || !isText(value) {
			return fmt.Errorf("a tag's name or value is not text of at most %d bytes without control characters", MaxTag)
		}
	}
	return nil
}

func (p *Profile) encode() []byte {
	var b builder
	b.str("name", p.Name)
	if len(p.Options) > 0 {
		b.raw("options", p.Options)
	}
	if len(p.Tags) > 0 {
		var tags builder
		for _, name := range slices.Sorted(maps.Keys(p.Tags)) {
			tags.raw(name, appendString(nil, p.Tags[name]))
		}
		b.raw("tags", tags.object())
	}
	b.extra(p.Extra)
	return b.object()
}

// Equal reports whether two profiles say the same, but for members of newer versions. Nil is an empty one.
func (p *Profile) Equal(q *Profile) bool {
	var none Profile
	if p == nil {
		p = &none
	}
	if q == nil {
		q = &none
	}
	return p.Name == q.Name && string(p.Options) == string(q.Options) && maps.Equal(p.Tags, q.Tags)
}

// sameProfile checks that what was read back is what was written.
func sameProfile(written, read *Profile) error {
	if !written.Equal(read) {
		return errors.New("profile would be read as something else")
	}
	if written.isZero() {
		return nil
	}
	return sameExtra(written.Extra, read.Extra)
}

// Authenticates reports whether the record has anything to authenticate with, or that bears on it: anything but a profile.
func (c *Client) Authenticates() bool {
	return len(c.Secrets) > 0 || c.TLS != nil || len(c.Federated) > 0 || c.RequireJTI || len(c.Extra) > 0
}

package bus_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/bus"
)

func TestInboxPrefixIsPrivate(t *testing.T) {
	if got := bus.InboxPrefix("UABC"); got != "_INBOX_UABC" {
		t.Errorf("prefix is %s", got)
	}
}

func TestN_AnNkeyHasOneText(t *testing.T) {
	const good = "UAR44TB3BYO4Y6MISJEBUM5PHGKZO2SKF5SNVZOSKIGNYHHYOXJ7NSRB"
	for text, want := range map[string]bool{
		good: true, good[:28] + "\n" + good[28:]: false, good[:28] + "\r\n" + good[28:]: false, good + "\n": false, "\r" + good: false, " " + good: false,
		strings.ToLower(good): false, good[:55] + "A": false, good[:55]: false, good + "=": false, "A" + good[1:]: false, "": false,
	} {
		if got := bus.IsUserNkey(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestN_RolesAreExactlyTheseAllowLists(t *testing.T) {
	// Per bucket, with B for the bucket's name.
	follow := []string{
		"$JS.API.STREAM.INFO.KV_B",
		"$JS.API.CONSUMER.CREATE.KV_B.*.$KV.B.>",
		"$JS.FC.KV_B.>",
		"$JS.FC.*.*.KV_B.>",
		"$JS.API.DIRECT.GET.KV_B.$KV.B.>",
	}
	operate := []string{
		"$KV.B.>",
		"$JS.API.STREAM.INFO.KV_B",
		"$JS.API.CONSUMER.CREATE.KV_B.>",
		"$JS.API.CONSUMER.DELETE.KV_B.*",
		"$JS.API.DIRECT.GET.KV_B",
		"$JS.API.DIRECT.GET.KV_B.>",
	}
	administer := []string{
		"$JS.API.STREAM.CREATE.KV_B",
		"$JS.API.STREAM.UPDATE.KV_B",
		"$JS.API.STREAM.PURGE.KV_B",
		"$JS.API.STREAM.MSG.DELETE.KV_B",
		"$JS.API.STREAM.DELETE.KV_B",
		"$JS.API.STREAM.SNAPSHOT.KV_B",
		"$JS.SNAPSHOT.ACK.KV_B.>",
		"$JS.API.STREAM.RESTORE.KV_B",
		"$JS.SNAPSHOT.RESTORE.KV_B.>",
	}
	all := []string{"KEYS", "REVOCATIONS", "CLIENTS", "ASSERTIONS", "USAGE"}
	for role, want := range map[bus.Role]bus.Permissions{
		bus.Verifier: {
			Publish:   append(expand(follow, "KEYS", "REVOCATIONS"), "keyherald.unknown-key.*"),
			Subscribe: []string{"_INBOX_U1.>"},
		},
		bus.Issuer: {
			Publish: append(expand(follow, "KEYS", "REVOCATIONS", "CLIENTS"),
				"$KV.KEYS.key.platform.>", "$KV.REVOCATIONS.>", "$KV.ASSERTIONS.>", "$KV.USAGE.>",
				"$JS.API.STREAM.INFO.KV_USAGE", "$JS.API.DIRECT.GET.KV_USAGE.$KV.USAGE.>", "keyherald.unknown-key.*"),
			Subscribe: []string{"_INBOX_U1.>"},
		},
		bus.Operator: {
			Publish:   append(expand(operate, all...), "$JS.FC.>", "keyherald.unknown-key.*"),
			Subscribe: []string{"_INBOX_U1.>", "_INBOX.>", "keyherald.unknown-key.*"},
		},
		bus.Admin: {
			Publish:   append(append(expand(operate, all...), "$JS.FC.>", "keyherald.unknown-key.*"), expand(administer, all...)...),
			Subscribe: []string{"_INBOX_U1.>", "_INBOX.>", "keyherald.unknown-key.*"},
		},
	} {
		have := role.Permissions(bus.InboxPrefix("U1"))
		slices.Sort(have.Publish)
		slices.Sort(want.Publish)
		if !slices.Equal(have.Publish, want.Publish) {
			t.Errorf("%s may publish on\n%s\nwant\n%s", role, strings.Join(have.Publish, "\n"), strings.Join(want.Publish, "\n"))
		}
		if !slices.Equal(have.Subscribe, want.Subscribe) {
			t.Errorf("%s may subscribe to %q, want %q", role, have.Subscribe, want.Subscribe)
		}
		if !slices.Contains(bus.Roles(), role) {
			t.Errorf("%s is not among the roles", role)
		}
	}
	if len(bus.Roles()) != 4 {
		t.Errorf("roles are %v", bus.Roles())
	}
}

func TestUnknownRoleHasNoPermissions(t *testing.T) {
	p := bus.Role("root").Permissions("_INBOX_U1")
	if len(p.Publish) != 0 || len(p.Subscribe) != 0 {
		t.Errorf("may %v", p)
	}
}

func expand(subjects []string, buckets ...string) []string {
	var out []string
	for _, b := range buckets {
		for _, s := range subjects {
			s = strings.ReplaceAll(s, "KV_B", "KV_"+b)
			out = append(out, strings.ReplaceAll(s, "$KV.B.", "$KV."+b+"."))
		}
	}
	return out
}

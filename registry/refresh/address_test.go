package refresh

import (
	"net/http"
	"net/netip"
	"testing"
	"time"
)

func TestI21_OnlyPublicAddressesAreConnectedTo(t *testing.T) {
	p := newPolicy(nil)
	for _, s := range []string{"1.1.1.1", "140.82.121.3", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::8c52:7903", "::ffff:1.1.1.1"} {
		if err := p.check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12::1", "ff02::1",
		"64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1",
	} {
		if p.check(netip.MustParseAddr(s)) == nil {
			t.Errorf("%s is taken for public", s)
		}
	}
	if p.check(netip.Addr{}) == nil {
		t.Error("no address is taken for public")
	}
	cluster := newPolicy(netip.MustParsePrefix("10.96.0.0/12").Contains)
	for s, want := range map[string]bool{"10.96.0.1": true, "::ffff:10.96.0.1": true, "10.0.0.1": false, "127.0.0.1": false, "1.1.1.1": true} {
		if err := cluster.check(netip.MustParseAddr(s)); (err == nil) != want {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestAnAnswerIsFreshAsLongAsItsHeadersSayWithinBounds(t *testing.T) {
	const date = "Wed, 25 Nov 2026 12:00:00 GMT"
	for _, r := range []struct {
		name   string
		header http.Header
		want   time.Duration
	}{
		{"nothing", http.Header{}, defaultLife},
		{"max-age", http.Header{"Cache-Control": {"public, max-age=1800, must-revalidate"}}, 30 * time.Minute},
		{"in two headers", http.Header{"Cache-Control": {"public", "Max-Age=1800"}}, 30 * time.Minute},
		{"less what it is old", http.Header{"Cache-Control": {"max-age=1800"}, "Age": {"600"}}, 20 * time.Minute},
		{"too little", http.Header{"Cache-Control": {"max-age=10"}}, leastLife},
		{"too much", http.Header{"Cache-Control": {"max-age=31536000, immutable"}}, mostLife},
		{"no-store", http.Header{"Cache-Control": {"no-store, max-age=1800"}}, leastLife},
		{"no-cache", http.Header{"Cache-Control": {"max-age=1800, no-cache"}}, leastLife},
		{"garbage", http.Header{"Cache-Control": {"max-age=soon"}}, leastLife},
		{"negative", http.Header{"Cache-Control": {"max-age=-1"}}, leastLife},
		{"overflow", http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, leastLife},
		{"twice", http.Header{"Cache-Control": {"max-age=3600, max-age=1800"}}, leastLife},
		{"expires", http.Header{"Expires": {"Wed, 25 Nov 2026 12:40:00 GMT"}, "Date": {date}}, 40 * time.Minute},
		{"expires in the past", http.Header{"Expires": {"Wed, 25 Nov 2026 11:40:00 GMT"}, "Date": {date}}, leastLife},
		{"expires 0", http.Header{"Expires": {"0"}}, leastLife},
		{"max-age before expires", http.Header{"Cache-Control": {"max-age=600"}, "Expires": {"Wed, 25 Nov 2026 12:40:00 GMT"}, "Date": {date}}, 10 * time.Minute},
	} {
		if got := lifetime(r.header); got != r.want {
			t.Errorf("%s: %s, want %s", r.name, got, r.want)
		}
	}
}

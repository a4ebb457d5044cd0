package refresh

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// lifetime is how long an answer is fresh by its headers (RFC 9111 §4.2), within what makes sense for keys: a provider that says
// "never" is not asked all the time, and one that says "for ever" may rotate all the same.
func lifetime(h http.Header) time.Duration {
	life, ok := maxAge(h)
	if !ok {
		life, ok = expires(h)
	}
	if !ok {
		life = defaultLife
	}
	return min(max(life, leastLife), mostLife)
}

// maxAge is what Cache-Control says.
func maxAge(h http.Header) (life time.Duration, ok bool) {
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0, true
		case "max-age":
			n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil || ok {
				return 0, true // RFC 9111 §4.2.1: stale, if in doubt
			}
			life, ok = time.Duration(n)*time.Second, true
		}
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		life -= time.Duration(age) * time.Second
	}
	return life, ok
}

// expires is what Expires says, by the sender's own clock.
func expires(h http.Header) (life time.Duration, ok bool) {
	if h.Get("Expires") == "" {
		return 0, false
	}
	end, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0, true // such as 0: it has expired (RFC 9111 §5.3)
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return end.Sub(now), true
}

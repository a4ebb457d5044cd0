package bus

import (
	"strings"

	"github.com/keyherald/keyherald/events"
)

// followed are the issuers whose records in KEYS are kept. Nil: all.
type followed map[events.Name]bool

// follows adds the platform: without it no client's tokens can be judged.
func follows(issuers []events.Name) followed {
	if len(issuers) == 0 {
		return nil
	}
	f := followed{events.Platform: true}
	for _, name := range issuers {
		f[name] = true
	}
	return f
}

// has reports whether a record, by its name in the bucket, is to be kept: one of an issuer that is followed. All have its name after the first dot.
func (f followed) has(record string) bool {
	if f == nil {
		return true
	}
	_, rest, _ := strings.Cut(record, ".")
	issuer, _, _ := strings.Cut(rest, ".")
	return f[events.Name(issuer)]
}

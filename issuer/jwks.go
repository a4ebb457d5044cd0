package issuer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/keyherald/keyherald/events"
)

// keyList is a JWK Set (RFC 7517 §5), with what a cache has to know of it.
type keyList struct {
	body   []byte
	etag   string
	maxAge time.Duration
}

// servePlatformKeys lists the keys of all nodes.
func (n *Node) servePlatformKeys(w http.ResponseWriter, r *http.Request) {
	n.serveKeys(w, r, func(set *events.Set) bool { return true }, events.Platform)
}

// serveClientKeys lists the keys with which a client signs offline tokens. For a client that is unknown, disabled or must not
// do so the list is empty: a verifier that cannot follow the events accepts whatever a listed key has signed.
func (n *Node) serveClientKeys(w http.ResponseWriter, r *http.Request) {
	name := events.Name(r.PathValue("name"))
	n.serveKeys(w, r, func(set *events.Set) bool {
		e := set.Issuer(name)
		return e != nil && e.Record.Status == events.Active && e.Record.Offline // only clients can be offline
	}, name)
}

func (n *Node) serveKeys(w http.ResponseWriter, r *http.Request, trusts func(*events.Set) bool, issuer events.Name) {
	now := time.Now()
	set, _, err := n.trusted(now)
	if err != nil {
		unavailable(err.Error()).write(w, n.cfg.Issuer)
		return
	}
	var entries []*events.KeyEntry
	if trusts(set) {
		entries = set.Keys(issuer)
	}
	list, err := listKeys(set.Revision(), entries, r.URL.Query().Get("kid"), now)
	if err != nil {
		n.cfg.Logger.Error().Err(err).Msg("keys not listed")
		asOAuthError(err).write(w, n.cfg.Issuer)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(list.maxAge/time.Second)))
	w.Header().Set("ETag", list.etag)
	if matches(r.Header.Values("If-None-Match"), list.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(list.body)
}

// listKeys lists those of the entries that are usable now or will be, only the one with the given kid unless that is empty.
func listKeys(revision uint64, entries []*events.KeyEntry, kid string, now time.Time) (*keyList, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b *events.KeyEntry) int { return cmp.Compare(a.KeyID, b.KeyID) })
	set, maxAge := jwk.NewSet(), jwksMaxAge
	for _, e := range entries {
		state := e.State(now)
		if kid != "" && string(e.KeyID) != kid || !state.Usable() && state != events.KeyPending {
			continue
		}
		key, err := publicJWK(e)
		if err == nil {
			err = set.AddKey(key)
		}
		if err != nil {
			return nil, fmt.Errorf("list key %s of %s: %w", e.KeyID, e.Issuer, err)
		}
		maxAge = min(maxAge, untilChange(e.Record, now))
	}
	body, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	// The revision says what the list was made from. It is not enough: keys end without an event, and a bucket that was
	// restored gives a revision twice.
	digest := sha256.Sum256(body)
	etag := `"` + strconv.FormatUint(revision, 10) + "-" + hex.EncodeToString(digest[:8]) + `"`
	return &keyList{body, etag, maxAge}, nil
}

// publicJWK returns the public key with the members that the SDKs of Authress look for, and no others.
func publicJWK(e *events.KeyEntry) (jwk.Key, error) {
	key, err := jwk.Import(e.Record.Public)
	if err != nil {
		return nil, err
	}
	for _, member := range []struct{ name, value string }{
		{jwk.KeyIDKey, string(e.KeyID)},
		{jwk.AlgorithmKey, string(e.Record.Algorithm)},
		{jwk.KeyUsageKey, string(jwk.ForSignature)},
	} {
		if err := key.Set(member.name, member.value); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// untilChange is how long it is until the key's record says that the key begins or ends.
func untilChange(record *events.Key, now time.Time) time.Duration {
	next := jwksMaxAge
	for _, at := range []int64{record.NotBefore, record.Expires} {
		if wait := time.Unix(at, 0).Sub(now); wait > 0 {
			next = min(next, wait)
		}
	}
	return next
}

// matches reports whether an If-None-Match header (RFC 9110 §13.1.2) has the tag, compared weakly.
func matches(headers []string, etag string) bool {
	for _, header := range headers {
		for tag := range strings.SplitSeq(header, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

package events

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// view is all that a reader can learn from a set.
type view struct {
	Issuers   map[Name]IssuerEntry
	Keys      map[string]KeyEntry
	ByIssuer  map[Name][]KeyID // in the order of Set.Keys
	States    map[string][]KeyState
	IssuerOf  map[string]Name
	Platform  Name
	Rejected  []Rejected
	Ambiguous map[string][]Name
	Len       [2]int
}

// viewOf reads the set at now by every way there is. Leases that the bucket drops at now are left out: whether a set has noticed
// is of no matter, because they are expired either way.
func viewOf(t *testing.T, s *Set, now time.Time) view {
	t.Helper()
	v := view{
		Issuers: map[Name]IssuerEntry{}, Keys: map[string]KeyEntry{}, ByIssuer: map[Name][]KeyID{}, States: map[string][]KeyState{},
		IssuerOf: map[string]Name{}, Ambiguous: s.Ambiguous(), Rejected: s.Rejected(),
	}
	if p := s.Platform(); p != nil {
		v.Platform = p.Name
	}
	issuers, keys := s.Len()
	urls := []string{"", platformIss, platformIss + "/", platformIss + "/v1/clients/", "https://a", "https://b"}
	for e := range s.Issuers() {
		if s.Issuer(e.Name) != e {
			t.Errorf("the listing has another issuer %s than the lookup", e.Name)
		}
		issuers--
		v.Issuers[e.Name] = *e
		urls = append(urls, s.URL(e), ClientURL(platformIss, e.Name))
	}
	for e := range s.AllKeys() {
		if s.Key(e.Issuer, e.KeyID) != e {
			t.Errorf("the listing has another key %s of %s than the lookup", e.KeyID, e.Issuer)
		}
		keys--
		entry := *e
		if r := e.Record; e.Issuer == Platform && r != nil && r.Expires != 0 && r.Expires <= now.Add(-LeaseKeep).Unix() {
			if entry.Record, entry.Revision, entry.Modified = nil, 0, 0; entry.RevokedBy == 0 {
				continue
			}
		}
		name := KeyRecord(e.Issuer, e.KeyID).String()
		v.Keys[name] = entry
		for _, at := range []time.Time{start.Add(-time.Hour), start, now, now.Add(time.Hour), now.Add(1000 * time.Hour)} {
			v.States[name] = append(v.States[name], entry.State(at))
		}
		if _, ok := v.ByIssuer[e.Issuer]; ok {
			continue
		}
		for _, k := range s.Keys(e.Issuer) {
			v.ByIssuer[e.Issuer] = append(v.ByIssuer[e.Issuer], k.KeyID)
		}
	}
	for issuer, kids := range v.ByIssuer {
		v.ByIssuer[issuer] = slices.DeleteFunc(kids, func(kid KeyID) bool {
			entry, ok := v.Keys[KeyRecord(issuer, kid).String()]
			return !ok || issuer == Platform && entry.Record == nil // left out above, or in the place of what was left out
		})
	}
	if issuers != 0 || keys != 0 {
		t.Errorf("Len has %d issuers and %d keys more than the listings", issuers, keys)
	}
	for _, url := range urls {
		if e := s.IssuerOf(url); e != nil {
			v.IssuerOf[url] = e.Name
		}
	}
	v.Len = [2]int{len(v.Issuers), len(v.Keys)}
	// A lease takes back the report of a malformed value under it, and gives it free again when the bucket drops it: only a
	// fresh set sees that.
	v.Rejected = slices.DeleteFunc(v.Rejected, func(r Rejected) bool { return strings.HasPrefix(r.Name, "key.platform.n") })
	slices.SortFunc(v.Rejected, func(a, b Rejected) int { return cmp.Compare(a.Name, b.Name) })
	return v
}

// difference says in what two views differ, or is empty.
func (v view) difference(other view) string {
	if reflect.DeepEqual(v, other) {
		return ""
	}
	var out strings.Builder
	a, b := reflect.ValueOf(v), reflect.ValueOf(other)
	for i := range a.NumField() {
		if x, y := a.Field(i).Interface(), b.Field(i).Interface(); !reflect.DeepEqual(x, y) {
			fmt.Fprintf(&out, "%s:\n\t%+v\n\t%+v\n", a.Type().Field(i).Name, x, y)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Keys)) {
		if x, y := v.Keys[name], other.Keys[name]; !reflect.DeepEqual(x, y) {
			fmt.Fprintf(&out, "%s:\n\t%+v\n\t%+v\n", name, x, y)
		}
	}
	return out.String()
}

// A set that leaves a message out is complete up to it, and has nothing of it.
func TestWhatIsLeftOutIsNotInTheSet(t *testing.T) {
	s := NewSet(func(c Change) { t.Errorf("it tells of %+v", c) })
	s.LeaveOut(Entry{Name: "issuer.stock", Value: []byte(clientJSON), Revision: 7, Time: start})
	s.LeaveOut(Entry{Name: "key.stock.k1", Value: []byte("malformed"), Revision: 5, Time: start}) // comes late
	if issuers, keys := s.Len(); issuers != 0 || keys != 0 || len(s.Rejected()) != 0 || s.Revision() != 7 || s.Latest() != 0 {
		t.Errorf("%d issuers, %d keys, rejected %v, revision %d, latest %d", issuers, keys, s.Rejected(), s.Revision(), s.Latest())
	}
}

package backup

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// merged is what becomes of a record of the file.
type merged struct {
	value   []byte
	taken   []string // what the bucket's record says was taken away since
	another bool     // the name stands for something else since: what the file has does not return
}

// merge returns the record of the file without what the bucket's record says was taken away since. With nothing taken away the record is
// the file's to the byte.
func merge(b bus.Bucket, name string, saved, live []byte) (merged, error) {
	if b == bus.Clients {
		return mergeRecord(saved, live, events.ParseClient, mergeClient, (*events.Client).Encode)
	}
	record, err := events.ParseRecordName(name)
	if err != nil {
		return merged{}, err
	}
	if record.Kind == events.KindIssuer {
		return mergeRecord(saved, live, events.ParseIssuer, mergeIssuer, (*events.Issuer).Encode)
	}
	parse := func(value []byte) (*events.Key, error) { return events.ParseKey(record.KeyID, value) }
	return mergeRecord(saved, live, parse, mergeKey, func(k *events.Key) ([]byte, error) { return k.Encode(record.KeyID) })
}

func mergeRecord[T any](saved, live []byte, parse func([]byte) (T, error), merge func(into, from T) (taken []string, another bool),
	encode func(T) ([]byte, error)) (merged, error) {
	into, err := parse(saved)
	if err != nil {
		return merged{}, err
	}
	from, err := parse(live)
	if err != nil {
		return merged{}, err
	}
	taken, another := merge(into, from)
	if another {
		return merged{live, taken, true}, nil
	}
	if len(taken) == 0 {
		return merged{value: saved}, nil
	}
	value, err := encode(into)
	if err != nil {
		return merged{}, err
	}
	if as, err := encode(from); err == nil && bytes.Equal(value, as) {
		value = live // in its own spelling: there is nothing to write
	}
	return merged{value, taken, false}, nil
}

// mergeIssuer leaves the narrower of each bound.
func mergeIssuer(into, from *events.Issuer) (taken []string, another bool) {
	if into.Type != from.Type || into.Type == events.TypeExternal && into.Iss != from.Iss {
		return []string{"replaced by another issuer"}, true
	}
	take := func(what string) { taken = append(taken, what) }
	if from.Status == events.Disabled && into.Status != events.Disabled {
		into.Status = events.Disabled
		take("disabled")
	}
	if from.NotBefore > into.NotBefore {
		into.NotBefore = from.NotBefore
		take("tokens issued up to " + date(from.NotBefore) + " are refused")
	}
	if lost := from.Scope.Lacks(into.Scope); !lost.IsEmpty() {
		into.Scope = into.Scope.Intersect(from.Scope)
		take("scope without " + lost.String())
	}
	limit(&into.Audience, from.Audience, "aud", take)
	limit(&into.Use, from.Use, "use", take)
	intersect(&into.Resource, from.Resource, "resource", take)
	if into.Offline && !from.Offline {
		into.Offline = false
		take("not offline")
	}
	if ttl := from.TokenTTL(); ttl < into.TokenTTL() {
		into.MaxTokenTTL = from.MaxTokenTTL
		take(fmt.Sprintf("max_token_ttl %d", int64(ttl/time.Second)))
	}
	if into.JWKSURI != "" && from.JWKSURI != into.JWKSURI {
		into.JWKSURI = from.JWKSURI
		take("keys from " + cmp.Or(from.JWKSURI, "nowhere"))
	}
	return taken, false
}

// limit narrows a list that allows everything if it is empty. Where the two have nothing in common, what the bucket allows is all.
func limit(into *[]string, from []string, member string, take func(string)) {
	switch {
	case len(from) == 0:
	case slices.ContainsFunc(*into, func(s string) bool { return slices.Contains(from, s) }):
		intersect(into, from, member, take)
	default:
		*into = from
		take(member + " only " + strings.Join(from, " "))
	}
}

// intersect narrows a list that allows nothing if it is empty.
func intersect(into *[]string, from []string, member string, take func(string)) {
	var both, lost []string
	for _, s := range *into {
		if slices.Contains(from, s) {
			both = append(both, s)
		} else {
			lost = append(lost, s)
		}
	}
	if len(lost) > 0 {
		*into = both
		take(member + " without " + strings.Join(lost, " "))
	}
}

func mergeKey(into, from *events.Key) (taken []string, another bool) {
	if public, ok := into.Public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(from.Public) {
		return []string{"replaced by another key"}, true
	}
	if from.Revoked != nil && into.Revoked == nil {
		into.Revoked = from.Revoked
		taken = append(taken, "revoked by its record")
	}
	begins, ends := max(into.NotBefore, from.NotBefore), into.Expires
	if ends == 0 || from.Expires != 0 && from.Expires < ends {
		ends = from.Expires
	}
	if ends != 0 && begins >= ends { // they have no time in common
		begins, ends = from.NotBefore, from.Expires
	}
	if begins > into.NotBefore {
		taken = append(taken, "begins at "+date(begins))
	}
	if ends != into.Expires && ends != 0 {
		taken = append(taken, "ends at "+date(ends))
	}
	into.NotBefore, into.Expires = begins, ends
	return taken, false
}

// mergeClient takes out the credentials that the client does not have any more. It is the same client, whatever it has.
func mergeClient(into, from *events.Client) (taken []string, another bool) {
	if from.RequireJTI && !into.RequireJTI {
		into.RequireJTI = true
		taken = append(taken, "require_jti")
	}
	into.Secrets = slices.DeleteFunc(into.Secrets, func(s events.Secret) bool {
		isIt := func(other events.Secret) bool { return other.ID == s.ID && other.SHA256 == s.SHA256 }
		return gone(&taken, slices.ContainsFunc(from.Secrets, isIt), "API key "+s.ID+" removed")
	})
	for i := range into.Secrets {
		s := &into.Secrets[i]
		other := from.Secrets[slices.IndexFunc(from.Secrets, func(other events.Secret) bool { return other.ID == s.ID })]
		if other.Expires != 0 && (s.Expires == 0 || other.Expires < s.Expires) {
			if s.Expires = other.Expires; s.IssuedAt >= s.Expires {
				s.IssuedAt = other.IssuedAt
			}
			taken = append(taken, "API key "+s.ID+" ends at "+date(other.Expires))
		}
	}
	into.Federated = slices.DeleteFunc(into.Federated, func(f events.Federated) bool {
		isIt := func(other events.Federated) bool {
			return other.Issuer == f.Issuer && other.Subject == f.Subject && other.Audience == f.Audience
		}
		return gone(&taken, slices.ContainsFunc(from.Federated, isIt), fmt.Sprintf("identity of %s removed", f.Issuer))
	})
	return append(taken, mergeTLS(into, from)...), false
}

func mergeTLS(into, from *events.Client) (taken []string) {
	if into.TLS == nil {
		return nil
	}
	other := cmp.Or(from.TLS, &events.TLS{})
	if member, value := into.TLS.Subject(); value != "" {
		otherMember, otherValue := other.Subject()
		if gone(&taken, member == otherMember && value == otherValue, "certificates by "+member+" removed") {
			into.TLS = nil
		}
		return taken
	}
	into.TLS.Certificates = slices.DeleteFunc(into.TLS.Certificates, func(c [sha256.Size]byte) bool {
		return gone(&taken, slices.Contains(other.Certificates, c), "certificate "+base64.RawURLEncoding.EncodeToString(c[:])+" removed")
	})
	if len(into.TLS.Certificates) == 0 {
		into.TLS = nil
	}
	return taken
}

// gone notes what is not still there, and reports whether it is not.
func gone(taken *[]string, stillThere bool, what string) bool {
	if !stillThere {
		*taken = append(*taken, what)
	}
	return !stillThere
}

func date(numericDate int64) string { return time.Unix(numericDate, 0).UTC().Format(time.RFC3339) }

package backup

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// merge returns the record of the file without what the bucket's record says was taken away since, and what that is. With nothing taken
// away the record is the file's to the byte.
func merge(b bus.Bucket, name string, saved, live []byte) (value []byte, taken []string, err error) {
	if b == bus.Clients {
		return mergeRecord(saved, live, events.ParseClient, mergeClient, (*events.Client).Encode)
	}
	record, err := events.ParseRecordName(name)
	if err != nil {
		return nil, nil, err
	}
	if record.Kind == events.KindIssuer {
		return mergeRecord(saved, live, events.ParseIssuer, mergeIssuer, (*events.Issuer).Encode)
	}
	parse := func(value []byte) (*events.Key, error) { return events.ParseKey(record.KeyID, value) }
	return mergeRecord(saved, live, parse, mergeKey, func(k *events.Key) ([]byte, error) { return k.Encode(record.KeyID) })
}

func mergeRecord[T any](saved, live []byte, parse func([]byte) (T, error), merge func(into, from T) []string, encode func(T) ([]byte, error)) ([]byte, []string, error) {
	into, err := parse(saved)
	if err != nil {
		return nil, nil, err
	}
	from, err := parse(live)
	if err != nil {
		return nil, nil, err
	}
	taken := merge(into, from)
	if len(taken) == 0 {
		return saved, nil, nil
	}
	value, err := encode(into)
	if err != nil {
		return nil, nil, err
	}
	if as, err := encode(from); err == nil && bytes.Equal(value, as) {
		value = live // in its own spelling: there is nothing to write
	}
	return value, taken, nil
}

func mergeIssuer(into, from *events.Issuer) (taken []string) {
	if from.Status == events.Disabled && into.Status != events.Disabled {
		into.Status = events.Disabled
		taken = append(taken, "disabled")
	}
	if from.NotBefore > into.NotBefore {
		into.NotBefore = from.NotBefore
		taken = append(taken, "tokens issued up to "+date(from.NotBefore)+" are refused")
	}
	return taken
}

func mergeKey(into, from *events.Key) (taken []string) {
	if from.Revoked != nil && into.Revoked == nil {
		into.Revoked = from.Revoked
		taken = append(taken, "revoked by its record")
	}
	if from.Expires != 0 && (into.Expires == 0 || from.Expires < into.Expires) {
		if into.Expires = from.Expires; into.NotBefore >= into.Expires {
			into.NotBefore = from.NotBefore
		}
		taken = append(taken, "ends at "+date(from.Expires))
	}
	return taken
}

// mergeClient takes out the credentials that the client does not have any more.
func mergeClient(into, from *events.Client) (taken []string) {
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
	return append(taken, mergeTLS(into, from)...)
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

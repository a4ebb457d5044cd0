package gate

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/keyherald/keyherald/verifier"
)

// identity are the names of the headers that say who calls.
type identity struct {
	client, subject, issuer, issuerName, scope, audience, tokenID, expires string
}

func newIdentity(prefix string) identity {
	name := func(s string) string { return http.CanonicalHeaderKey(prefix + s) }
	return identity{
		client: name("Client"), subject: name("Subject"), issuer: name("Issuer"), issuerName: name("Issuer-Name"),
		scope: name("Scope"), audience: name("Audience"), tokenID: name("Token-Id"), expires: name("Expires"),
	}
}

// write sets all headers. They are empty if there is nothing to say: one that is missing would let the client's own through.
func (id *identity) write(header http.Header, t *verifier.Token) {
	values := [8]string{
		string(t.Client), encode(t.Subject), encode(t.Issuer), string(t.IssuerName), encodeList(t.Scope.Values()), encodeList(t.Audience), encode(t.ID),
		strconv.FormatInt(t.Expires.Unix(), 10),
	}
	for i, name := range [8]string{id.client, id.subject, id.issuer, id.issuerName, id.scope, id.audience, id.tokenID, id.expires} {
		header[name] = values[i : i+1 : i+1] // one allocation for all
	}
}

// encodeList is a list in a header: entries that have no space, separated by one.
func encodeList(entries []string) string {
	if len(entries) == 1 {
		return encode(entries[0])
	}
	var b strings.Builder
	for i, entry := range entries {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(encode(entry))
	}
	return b.String()
}

// encode percent-encodes what is not printable ASCII, the space and the percent sign. Most claims have none of it.
func encode(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' }) {
		return s
	}
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, 3*len(s))
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '%' {
			out = append(out, '%', digits[c>>4], digits[c&0xf])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

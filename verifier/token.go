package verifier

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/keyherald/keyherald/events"
)

// Token is a token that was accepted. It must not be changed: who shows the same token again gets the same Token.
type Token struct {
	Issuer     string            // iss
	IssuerName events.Name       // its record: "platform", a client, or an external issuer
	IssuerType events.IssuerType // who speaks: for platform and client, Client is who acts
	Subject    string            // sub; of an external issuer it says nothing about our clients
	Client     events.Name       // the service client; empty for an external issuer's token
	Scope      events.Scope      // effective: the token's, within what the record grants
	Audience   []string          // aud
	ID         string            // jti; may be empty for client and external
	KeyID      events.KeyID      // kid
	Expires    time.Time         // exp
	IssuedAt   time.Time         // iat; zero if there is none (external only)
	// Confirmation is what the token is bound to, and what the caller has confirmed; nil: it is a bearer token.
	Confirmation *Confirmation
	text         string // the whole token
}

// Claims returns the token's claims as they were signed, a JSON object. It is decoded with every call.
func (t *Token) Claims() json.RawMessage {
	_, rest, _ := strings.Cut(t.text, ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		panic("verifier: the payload of an accepted token cannot be decoded")
	}
	return claims
}

// accepted is a Token with what it was accepted for. All of it is one allocation. What a repeat needs comes first, so that it is in as few cache
// lines as can be.
type accepted struct {
	hash uint64 // of the text
	text string // the whole token

	// As the set had them. They are replaced whole whenever something about them changes.
	platform *events.IssuerEntry
	client   *events.IssuerEntry
	key      *events.KeyEntry
	issuer   *events.IssuerEntry

	from, until int64        // Unix seconds, leeway included: not accepted before the one, nor from the other on
	used        atomic.Int64 // last, Unix seconds
	forUs       bool         // its aud has the verifier's own audience
	bound       bool         // to confirmation

	id   events.TokenID // under which it is revoked
	size int64          // of all of it, bytes

	token        Token
	confirmation Confirmation // room for what Token points to, as most tokens need it
	audience     [2]string
	scopes       [4]string
	room         []byte // for the strings of the token
}

// roomy is an accepted together with so much room for its strings.
type roomy[Bytes any] struct {
	accepted
	bytes Bytes
}

// newAccepted returns an accepted with room for strings of that many bytes.
func newAccepted(room int) *accepted {
	switch {
	case room <= 512:
		a := new(roomy[[512]byte])
		return a.with(a.bytes[:0], unsafe.Sizeof(*a))
	case room <= 768:
		a := new(roomy[[768]byte])
		return a.with(a.bytes[:0], unsafe.Sizeof(*a))
	case room <= 1536:
		a := new(roomy[[1536]byte])
		return a.with(a.bytes[:0], unsafe.Sizeof(*a))
	}
	a := new(accepted)
	return a.with(make([]byte, 0, room), unsafe.Sizeof(*a)+uintptr(room))
}

func (a *accepted) with(room []byte, size uintptr) *accepted {
	a.room, a.size = room, int64(size)
	return a
}

// keep returns a copy of s, which may be a part of a buffer that is used again. There must be room for it.
func (a *accepted) keep(s string) string {
	if s == "" {
		return ""
	}
	from := len(a.room)
	a.room = append(a.room, s...)
	return unsafe.String(&a.room[from], len(s)) // what is in room is not written again: the string does not change
}

// keepAs is keep, without a copy if what is known says the same.
func (a *accepted) keepAs(known, s string) string {
	if s == known {
		return known
	}
	return a.keep(s)
}

// result copies what is to last of the token that was accepted.
func (j *judgement) result(token string) (*accepted, error) {
	c := &j.token.Claims
	room := len(token) + len(c.Issuer) + len(c.Subject) + len(c.ID)
	for _, aud := range c.Audience {
		room += len(aud)
	}
	a := newAccepted(room)
	a.text = a.keep(token)
	a.platform, a.issuer, a.client, a.key = j.platform, j.issuer, j.client, j.key
	record := j.issuer.Record
	a.token = Token{
		Issuer: a.keepAs(record.Iss, c.Issuer), IssuerName: j.issuer.Name, IssuerType: record.Type,
		Subject: a.keepAs(string(j.client.Name), c.Subject), ID: a.keep(c.ID), KeyID: j.key.KeyID,
		Expires: time.Unix(c.Expiry, 0), text: a.text,
	}
	t := &a.token
	t.Audience = a.audience[:0]
	for _, aud := range c.Audience {
		t.Audience = append(t.Audience, a.keepAs(j.v.cfg.Audience, aud))
	}
	t.Audience = slices.Clip(t.Audience)
	if c.HasIssuedAt {
		t.IssuedAt = time.Unix(c.IssuedAt, 0)
	}
	if j.client.Record.Type == events.TypeClient {
		t.Client = j.client.Name
	}
	if c.Confirmation != nil {
		a.confirmation, a.bound = j.bound, true
		t.Confirmation = &a.confirmation
	}
	if j.v.cache != nil {
		j.prepareRecall(a)
	}
	var err error
	t.Scope, err = j.limitScope(a.scopes[:0])
	const text = int64(unsafe.Sizeof(""))
	if n := len(t.Audience); n > len(a.audience) {
		a.size += int64(n) * text
	}
	if n := len(t.Scope.Values()); n > len(a.scopes) { // those of the record, perhaps; but then it is one of few
		a.size += int64(n) * text
	}
	return a, err
}

// prepareRecall notes what it takes to recall a. A token without iat is not recalled: how long it may live is counted from now.
func (j *judgement) prepareRecall(a *accepted) {
	c := &j.token.Claims
	if !c.HasIssuedAt {
		return
	}
	a.forUs = slices.Contains(c.Audience, j.v.cfg.Audience)
	a.from, a.until = max(c.IssuedAt, c.NotBefore)-j.v.cfg.leeway(), c.Expiry+j.v.cfg.leeway()
	a.id = TokenID(j.token)
}

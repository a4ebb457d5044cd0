package registry

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Caller is on whose behalf an operation is done. It goes into the message that is written (information, not proof) and into the
// audit log.
type Caller struct {
	// Name says who, and from where: cli:alice@laptop. Required; text of at most 256 bytes without control characters.
	Name string
	// Authority bounds what the caller may do. Nil: it may do everything that the credential of the Registry's connection may.
	Authority *Authority
}

// maxCaller is the length of a caller's name, in bytes. A message has 1 KiB for all of its headers.
const maxCaller = 256

func (c Caller) check() error {
	if strings.TrimSpace(c.Name) == "" || len(c.Name) > maxCaller || !isPrintable(c.Name) {
		return refuse(ErrInvalid, "the caller's name is not text of 1 to %d bytes without control characters: every change says who made it", maxCaller)
	}
	return nil
}

// isPrintable reports whether s can stand in a header and on a terminal.
func isPrintable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// The outcomes of an operation in the audit log.
const (
	outcomeDone      = "done"
	outcomeUnchanged = "unchanged" // it was so already
	outcomeRefused   = "refused"
	outcomeUnknown   = "unknown" // it may have been done
	outcomeFailed    = "failed"
)

// line is a line of the audit log, filled in while the operation goes on.
type line struct {
	issuer   events.Name
	kid      events.KeyID
	secret   string      // id of an API key
	token    string      // name of a token revocation
	external events.Name // of a federated identity: the external issuer
	subject  string
	audience string
	source   string // where keys were fetched from
	ended    []string
	revision uint64
	outcome  string // empty: done, or what the error says

	certificate             string // thumbprint
	certificateSubject      string // whose certificates, by which member of tls
	added, changed, removed []events.KeyID
	quiet                   bool // there was nothing to do, and nobody asked: no line
}

// audited runs an operation and writes its line, whatever comes out.
func (r *Registry) audited(caller Caller, op string, l line, run func(*line) error) error {
	err := caller.check()
	if err != nil {
		caller = Caller{} // not for a log
	} else if err = caller.may(op); err == nil {
		err = run(&l)
	}
	if err != nil {
		l.outcome = outcomeOf(err)
	} else if l.outcome == "" {
		l.outcome = outcomeDone
	}
	if err == nil && l.quiet {
		return nil
	}
	e := r.log.Info().Str("op", op).Str("caller", caller.Name)
	for _, field := range []struct{ name, value string }{
		{"issuer", string(l.issuer)}, {"kid", string(l.kid)}, {"secret", l.secret}, {"token", l.token}, {"source", l.source},
		{"certificate", l.certificate}, {"subject", l.certificateSubject},
		{"external", string(l.external)}, {"sub", l.subject}, {"aud", l.audience},
	} {
		if field.value != "" {
			e = e.Str(field.name, field.value)
		}
	}
	if len(l.ended) > 0 {
		e = e.Strs("ended", l.ended)
	}
	for _, field := range []struct {
		name string
		kids []events.KeyID
	}{{"added", l.added}, {"changed", l.changed}, {"removed", l.removed}} {
		if len(field.kids) > 0 {
			e = e.Interface(field.name, field.kids)
		}
	}
	if l.revision != 0 {
		e = e.Uint64("revision", l.revision)
	}
	if err != nil {
		e = e.Str("reason", err.Error())
	}
	e.Str("outcome", l.outcome).Msg("audit")
	return err
}

func outcomeOf(err error) string {
	var r *refusal
	switch {
	case errors.Is(err, bus.ErrUnknownOutcome):
		return outcomeUnknown
	case errors.As(err, &r), errors.Is(err, ErrForbidden):
		return outcomeRefused
	}
	return outcomeFailed
}

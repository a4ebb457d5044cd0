package refresh

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// UserAgent is what providers see in their logs.
const UserAgent = "keyherald-refresh"

// FetcherConfig says whom a Fetcher may ask. The zero value is for providers on the internet.
type FetcherConfig struct {
	// AllowTarget allows addresses that are not public: those of loopback, of private networks and all other special ones are refused
	// otherwise, whatever name they hide behind. Nil: none.
	AllowTarget func(netip.Addr) bool
	// Roots are the authorities whose certificates are accepted. Nil: the system's.
	Roots *x509.CertPool
}

// Fetcher gets public documents of identity providers. It is careful about whom it talks to, since where to is something
// that an operator, or a document, says: it follows no redirects, uses no proxy, sends no credential and no cookie, and connects to
// public addresses only (RFC 8725bis §3.10, server-side request forgery).
type Fetcher struct {
	https, http *http.Client
}

// NewFetcher makes a Fetcher.
func NewFetcher(cfg FetcherConfig) *Fetcher { return newFetcher(cfg, net.DefaultResolver) }

func newFetcher(cfg FetcherConfig, names *net.Resolver) *Fetcher {
	p := newPolicy(cfg.AllowTarget)
	return &Fetcher{
		https: newClient(cfg.Roots, names, p.check),
		http: newClient(cfg.Roots, names, func(addr netip.Addr) error {
			if !addr.Unmap().IsLoopback() {
				return fmt.Errorf("http to %s: plain http is for loopback only", addr)
			}
			return p.check(addr)
		}),
	}
}

var errRedirect = errors.New("it redirects, which is not followed: give the place where the document is")

func newClient(roots *x509.CertPool, names *net.Resolver, check func(netip.Addr) error) *http.Client {
	dialer := &net.Dialer{Timeout: fetchTimeout, Resolver: names, Control: func(_, address string, _ syscall.RawConn) error {
		target, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return check(target.Addr())
	}}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true, // the next request is minutes away
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
	}
}

// document is what was fetched.
type document struct {
	body      []byte
	unchanged bool // since the etag that was sent: there is no body
	etag      string
	life      time.Duration // until it may have changed; see lifetime
}

// get fetches a document, unless it still is the one with the given entity tag.
func (f *Fetcher) get(ctx context.Context, from, etag string) (document, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	doc, err := f.try(ctx, from, etag)
	if err != nil {
		var known *url.Error // says where once more
		if errors.As(err, &known) {
			err = known.Err
		}
		if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", fetchTimeout)
		}
		return document{}, fmt.Errorf("fetching %s: %w", from, err)
	}
	return doc, nil
}

func (f *Fetcher) try(ctx context.Context, from, etag string) (document, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return document{}, err
	}
	client := f.https
	switch {
	case req.URL.User != nil:
		return document{}, errors.New("the URL has a user, who is not for everybody to know")
	case req.URL.Scheme == "http":
		client = f.http
	case req.URL.Scheme != "https":
		return document{}, fmt.Errorf("not an https URL")
	}
	req.Header.Set("User-Agent", UserAgent)
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		return document{}, err
	}
	defer resp.Body.Close()
	doc := document{life: lifetime(resp.Header), etag: entityTag(resp.Header)}
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		doc.unchanged, doc.etag = true, etag
		return doc, nil
	case resp.StatusCode != http.StatusOK:
		return document{}, &statusError{resp.StatusCode}
	}
	if doc.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1)); err != nil {
		return document{}, err
	}
	if len(doc.body) > maxBody {
		return document{}, fmt.Errorf("more than %d bytes", maxBody)
	}
	return doc, nil
}

// statusError is an answer other than the document.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s", e.code, http.StatusText(e.code)))
}

// entityTag is the ETag of an answer, if it is one that can be sent back (RFC 9110 §8.8.3).
func entityTag(h http.Header) string {
	tag := h.Get("ETag")
	opaque := strings.TrimPrefix(tag, "W/")
	if len(opaque) < 2 || len(tag) > maxETag || opaque[0] != '"' || opaque[len(opaque)-1] != '"' {
		return ""
	}
	return tag
}

package issuer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/keyherald/keyherald/events"
)

// Ready returns why the node cannot issue tokens now, or nil if it can.
func (n *Node) Ready() error {
	now := time.Now()
	set, platform, err := n.trusted(now)
	if err != nil {
		return err
	}
	if err := n.checkAge(n.cfg.Clients.Confirmed(), now); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	if platform.NotBefore >= now.Unix() {
		return errors.New("the tokens of the platform are refused if they are made now: its record has a not_before in the future")
	}
	if !n.ring.covers(set, now, now.Add(n.cfg.TokenTTL).Unix()) {
		if trouble := n.ring.trouble.Load(); trouble != nil {
			return errors.New("the signing key that this node was given cannot be used: " + *trouble)
		}
		return errors.New("there is no signing key whose lease is long enough: it is not published yet, or could not be renewed")
	}
	return nil
}

// trusted returns the set to answer from, and the platform's record in it, unless the node must not answer at all.
func (n *Node) trusted(now time.Time) (*events.Set, *events.Issuer, error) {
	confirmed := n.cfg.Keys.Confirmed()
	set := n.cfg.Keys.Keys() // after that: it is the one that was confirmed, or a later one
	if err := n.checkAge(confirmed, now); err != nil {
		return nil, nil, fmt.Errorf("keys: %w", err)
	}
	platform, err := n.platform(set)
	if err != nil {
		return nil, nil, err
	}
	return set, platform, nil
}

// checkAge returns why records that were confirmed at a certain time are not to be trusted now.
func (n *Node) checkAge(confirmed, now time.Time) error {
	if confirmed.IsZero() {
		return errors.New("the records have not been read completely yet")
	}
	if age := events.Staleness(now, confirmed); n.cfg.MaxStaleness > 0 && age > n.cfg.MaxStaleness {
		return fmt.Errorf("the records were confirmed %v ago: more than the %v that are allowed", age.Round(time.Second), n.cfg.MaxStaleness)
	}
	return nil
}

// checkPlatform returns why the records are not those of the platform that the node is set up for.
func (n *Node) checkPlatform(set *events.Set) error {
	_, err := n.platform(set)
	return err
}

// platform returns the platform's record, or why it is not that of the platform that the node is set up for.
func (n *Node) platform(set *events.Set) (*events.Issuer, error) {
	platform := set.Platform()
	switch {
	case platform == nil:
		return nil, errors.New("there is no record of the platform")
	case platform.Record.Iss != n.cfg.Issuer:
		return nil, fmt.Errorf("the platform's record says that the issuer is %s, and this node is set up for %s", platform.Record.Iss, n.cfg.Issuer)
	case platform.Record.Status != events.Active:
		return nil, errors.New("the platform is disabled by its record")
	}
	return platform.Record, nil
}

// serveLive says that the process answers.
func (n *Node) serveLive(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") }

// serveReady says whether the node issues tokens, and if not, why.
func (n *Node) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := n.Ready(); err != nil {
		writeText(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
		return
	}
	writeText(w, http.StatusOK, "ready")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

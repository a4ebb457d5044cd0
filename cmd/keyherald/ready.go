package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// readyCmd is the health check of an image that has neither a shell nor curl.
type readyCmd struct {
	URL     string        `arg:"" optional:"" help:"Where it answers (default ${default})." default:"http://127.0.0.1:8080" env:"-"`
	Timeout time.Duration `help:"How long to wait for the answer." default:"5s" placeholder:"DURATION"`
}

// maxWhy is how much is shown of why it is not ready, in bytes.
const maxWhy = 500

func (c *readyCmd) Run(ctx context.Context) error {
	if c.Timeout <= 0 {
		return usage("--timeout %s leaves no time", c.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.URL, "/")+"/readyz", nil)
	if err != nil {
		return usage("the URL cannot be read: %w", err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return &hinted{fmt.Errorf("asking whether it is ready: %w", err), "is a keyherald serve or gate running there?"}
	}
	defer resp.Body.Close()
	why, err := io.ReadAll(io.LimitReader(resp.Body, maxWhy))
	if err != nil {
		return fmt.Errorf("reading whether it is ready: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s: %s", resp.Status, printable(strings.TrimSpace(string(why))))
	}
	return nil
}

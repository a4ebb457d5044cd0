package bus

import (
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// credential returns the option that proves who connects, and the inbox prefix that belongs to it.
func credential(cfg Config) (nats.Option, string, error) {
	file, what := cfg.SeedFile, "nkey seed"
	if cfg.CredsFile != "" {
		if cfg.SeedFile != "" {
			return nil, "", errors.New("both an nkey seed file and a credentials file are given: use one")
		}
		file, what = cfg.CredsFile, "credentials"
	}
	if file == "" {
		return nil, "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("reading the %s file: %w", what, err)
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, "", fmt.Errorf("file %s has no %s in it", file, what)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, "", fmt.Errorf("file %s has no usable %s: %w", file, what, err)
	}
	if cfg.CredsFile != "" {
		return nats.UserCredentials(file), InboxPrefix(public), nil
	}
	return nats.Nkey(public, pair.Sign), InboxPrefix(public), nil
}

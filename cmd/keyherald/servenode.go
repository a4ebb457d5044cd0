package main

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/keyherald/keyherald/issuer"
)

// nodeFlags are how one node of the token service signs.
type nodeFlags struct {
	TokenTTL    time.Duration `help:"How long access tokens live, unless the client's record says less; at most 1h." default:"15m" placeholder:"DURATION"`
	KeyRotation time.Duration `help:"Age at which the node replaces its signing key, which it makes in memory; at least 10m." default:"24h" placeholder:"DURATION"`
	SigningKey  string        `help:"File with a signing key to use instead: Ed25519, PKCS#8 as PEM, for this user only. It is never replaced; several nodes may have the same." placeholder:"FILE" type:"path"`
}

// signingKey checks the flags and reads the signing key, which is nil if the node is to make its own.
func (f *nodeFlags) signingKey() (crypto.Signer, error) {
	switch {
	case f.TokenTTL < time.Second || f.TokenTTL > issuer.MaxTokenTTL:
		return nil, usage("--token-ttl %s is not between 1s and %s", f.TokenTTL, issuer.MaxTokenTTL)
	case f.KeyRotation < issuer.MinKeyRotation:
		return nil, usage("--key-rotation %s is less than %s", f.KeyRotation, issuer.MinKeyRotation)
	case f.SigningKey == "":
		return nil, nil
	}
	key, err := readSigningKey(f.SigningKey)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	return key, nil
}

// readSigningKey reads a private key from a file that nobody else may read.
func readSigningKey(file string) (crypto.Signer, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkSecretMode(file, info, "this one signs tokens that everybody accepts"); err != nil {
		return nil, err
	}
	text, err := readLimited(f, maxSecretFile)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", file, err)
	}
	key, err := issuer.ParseSigningKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", file, err)
	}
	return key, nil
}

// checkSecretMode refuses a file that other users can read, and says why that matters. Windows has no such permissions.
func checkSecretMode(file string, info fs.FileInfo, why string) error {
	if info.IsDir() {
		return fmt.Errorf("file %s is a directory", file)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return &hinted{fmt.Errorf("file %s has the permissions %04o: %w", file, mode, errExposed),
			"chmod 600 it; if somebody may have read it, make another key: " + why}
	}
	return nil
}

// errExposed: a file with a secret is readable by others.
var errExposed = errors.New("other users may read it")

//go:build !unix

package embedded_test

import "github.com/keyherald/keyherald/events/embedded"

func obey(*embedded.Server) {}

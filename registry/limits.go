package registry

import "time"

// DefaultMaxClients is how many issuers there may be, nearly all of them clients, before a caller with an [Authority] can create no other.
// None is ever deleted, and every node and every verifier holds all of them in memory: a token that leaks, or a script that
// runs wild, must not fill that. It is far beyond what people have registered by hand; operators have no limit.
const DefaultMaxClients = 200_000

// undoTimeout bounds taking back a credential that should not have been added. It goes on when whoever asked for the credential has gone, and holds up
// everybody else who decides by several records: a few writes' time, and no longer.
const undoTimeout = 10 * time.Second

// maxImported is how many keys a JWK set to import has at most. A client may have five; this is for external issuers.
const maxImported = 100

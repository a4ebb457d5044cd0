package registry

// DefaultMaxClients is how many issuers there may be, nearly all of them clients, before a caller with an [Authority] can create no other.
// None is ever deleted, and every node and every verifier holds all of them in memory: a token that leaks, or a script that
// runs wild, must not fill that. It is far beyond what people have registered by hand; operators have no limit.
const DefaultMaxClients = 200_000

package natsconfig

import (
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
)

// Key is one of the private keys of a Trust.
type Key struct {
	Name string
	Kind nkeys.PrefixByte
}

// The keys that are no role's.
const (
	operatorKey = "operator"      // is the operator; vouches for itself only
	vouchingKey = "sign-accounts" // vouches for accounts, in its stead
	accountKey  = "account"       // is the account; it could vouch for users of any permissions, and servers take its word for none
	systemKey   = "system"        // is the servers' own account
)

// signerKey is the key that vouches for users of a role.
func signerKey(r bus.Role) string { return "sign-" + string(r) }

// Keys lists the keys of a Trust.
func Keys() []Key {
	keys := []Key{{operatorKey, nkeys.PrefixByteOperator}, {vouchingKey, nkeys.PrefixByteOperator}, {accountKey, nkeys.PrefixByteAccount}, {systemKey, nkeys.PrefixByteAccount}}
	for _, role := range bus.Roles() {
		keys = append(keys, Key{signerKey(role), nkeys.PrefixByteAccount})
	}
	return keys
}

// Trust is who vouches for whom: an operator for the account of the buckets and for the servers' own, keys of the account for users.
type Trust struct {
	pairs   map[string]nkeys.KeyPair
	publics map[string]string
}

// OpenTrust takes the seed of each of [Keys].
func OpenTrust(seed func(Key) ([]byte, error)) (*Trust, error) {
	t := &Trust{pairs: map[string]nkeys.KeyPair{}, publics: map[string]string{}}
	for _, key := range Keys() {
		text, err := seed(key)
		if err != nil {
			return nil, err
		}
		pair, err := nkeys.ParseDecoratedNKey(text)
		if err != nil { // it is not passed on: this is about a secret
			return nil, fmt.Errorf("what is given as the key %s is no nkey seed", key.Name)
		}
		public, err := pair.PublicKey()
		if err != nil || nkeys.Prefix(public) != key.Kind {
			return nil, fmt.Errorf("what is given as the key %s is of the kind %s, not %s", key.Name, nkeys.Prefix(public), key.Kind)
		}
		t.pairs[key.Name], t.publics[key.Name] = pair, public
	}
	return t, nil
}

// Account is the JWT of the account, with what the users of each role may do. Users that the previous JWT has revoked stay so; it is
// empty for the first. The public nkeys are revoked in addition.
func (t *Trust) Account(previous string, revoke ...string) (string, error) {
	claims := jwt.NewAccountClaims(t.publics[accountKey])
	claims.Name = account
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit, MaxAckPending: jwt.NoLimit,
	}
	claims.Limits.LeafNodeConn = 0
	for _, role := range bus.Roles() {
		may := role.Permissions(bus.InboxPrefix("{{subject()}}")) // the server puts the user's nkey there
		scope := jwt.NewUserScope()
		scope.Key, scope.Role = t.publics[signerKey(role)], string(role)
		scope.Template.Pub.Allow, scope.Template.Sub.Allow = may.Publish, may.Subscribe
		scope.Template.AllowedConnectionTypes.Add(jwt.ConnectionTypeStandard)
		claims.SigningKeys.AddScopedSigner(scope)
	}
	if previous != "" {
		before, err := jwt.DecodeAccountClaims(previous)
		if err != nil {
			return "", fmt.Errorf("read the account's previous JWT: %w", err)
		}
		if before.Subject != claims.Subject {
			return "", fmt.Errorf("the previous JWT is of another account, %s", before.Subject)
		}
		claims.Revocations = before.Revocations
	}
	for _, nkey := range revoke {
		claims.Revoke(nkey)
	}
	return t.encode(claims, vouchingKey)
}

func (t *Trust) encode(claims jwt.Claims, by string) (string, error) {
	var problems jwt.ValidationResults
	claims.Validate(&problems)
	if errs := problems.Errors(); len(errs) > 0 {
		return "", fmt.Errorf("make a JWT: %w", errs[0])
	}
	return claims.Encode(t.pairs[by])
}

// Operator is the JWT of the operator: the previous one, or a new one if that is empty. It stays as it is, because a running server
// takes no other: it would refuse the whole configuration.
func (t *Trust) Operator(previous string) (string, error) {
	if previous == "" {
		claims := jwt.NewOperatorClaims(t.publics[operatorKey])
		claims.Name, claims.SystemAccount = account, t.publics[systemKey]
		claims.SigningKeys.Add(t.publics[vouchingKey])
		claims.StrictSigningKeyUsage = true // or the account's own key could vouch for users, too
		return t.encode(claims, operatorKey)
	}
	before, err := jwt.DecodeOperatorClaims(previous)
	if err != nil {
		return "", fmt.Errorf("read the operator's previous JWT: %w", err)
	}
	if before.Subject != t.publics[operatorKey] || before.SystemAccount != t.publics[systemKey] {
		return "", fmt.Errorf("the previous JWT is of another operator, %s", before.Subject)
	}
	if !before.StrictSigningKeyUsage || !before.SigningKeys.Contains(t.publics[vouchingKey]) {
		return "", fmt.Errorf("the previous JWT does not name the key %s, or takes others: remove it to have one made that does, and restart all servers with it",
			vouchingKey)
	}
	return previous, nil
}

// Server is the configuration of a server that trusts the operator, with the account's JWT.
func (t *Trust) Server(operatorJWT, accountJWT string) (string, error) {
	system := jwt.NewAccountClaims(t.publics[systemKey])
	system.Name = "SYS"
	systemJWT, err := t.encode(system, vouchingKey)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`# For a nats-server that has JetStream: jetstream { store_dir: …, sync_interval: always }
operator: %s
system_account: %s
resolver: MEMORY
resolver_preload: {
  # %s
  %s: %s
  # the servers' own
  %s: %s
}
`, operatorJWT, t.publics[systemKey], account, t.publics[accountKey], accountJWT, t.publics[systemKey], systemJWT), nil
}

// Creds is the credentials file of a user: its JWT and its seed, which must be that of the user's nkey.
func (t *Trust) Creds(u User, seed []byte) ([]byte, error) {
	if err := u.Check(); err != nil {
		return nil, err
	}
	claims := jwt.NewUserClaims(u.Nkey)
	claims.Name, claims.IssuerAccount = u.Name, t.publics[accountKey]
	claims.SetScoped(true)
	token, err := claims.Encode(t.pairs[signerKey(u.Role)])
	if err != nil {
		return nil, fmt.Errorf("make the JWT of user %s: %w", u.Name, err)
	}
	return jwt.FormatUserConfig(token, seed)
}

// NkeyOf is the public nkey of whom a credentials file is.
func NkeyOf(creds []byte) (string, error) {
	token, err := jwt.ParseDecoratedJWT(creds)
	if err != nil {
		return "", fmt.Errorf("read the credentials' JWT: %w", err)
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", fmt.Errorf("read the credentials' JWT: %w", err)
	}
	return claims.Subject, nil
}

// Package doctor looks whether a NATS server or cluster is what keyherald needs, and says of everything that is not what was found, what
// is needed, and what to do.
//
// It changes nothing and writes no record. What it cannot read, by itself or from a server's monitoring URL, it calls unknown, and never
// well. What a role must not be able to do it tries, with that role's credential, one call after the other, on every server: see
// [bus.Conn.Try] for why nothing comes of a call that is not refused.
//
//	report := doctor.Examine(ctx, doctor.Config{
//		NATS:     bus.Config{URL: "nats://a:4222,nats://b:4222,nats://c:4222", SeedFile: "operator.nk"},
//		Monitors: []string{"http://a:8222", "http://b:8222", "http://c:8222"},
//		Roles:    []doctor.Credential{{Role: bus.Verifier, SeedFile: "verifier.nk"}},
//	})
//	for _, f := range report.Findings {
//		fmt.Println(f)
//	}
//
// First everything is read (facts), then each check looks at it: a function, one a concept, that does no I/O.
package doctor

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
)

// Config says what to look at.
type Config struct {
	// NATS is how to connect. With an operator's credential all buckets can be read, with a verifier's two of them. Required.
	NATS bus.Config
	// Monitors are the HTTP monitoring URLs of the servers (http://host:8222), one for each. What only they tell is unknown without.
	Monitors []string
	// Roles are credentials of which to try that they can do what their role needs, and nothing else.
	Roles []Credential
	// Replicas is on how many servers each bucket must be kept. Zero: 3 in a cluster of three or more, 1 without a cluster, and
	// unknown in a cluster of which fewer than three servers are known.
	Replicas int
	// SyncAlways says that the one server there is was seen to have each write on the disk before it acknowledges it, by whoever
	// runs it: keyherald serve knows it of the server inside.
	SyncAlways bool
	// Now is the clock of this machine. Nil: time.Now.
	Now func() time.Time
	// Logger gets what the connections have to say. The zero Logger is silent.
	Logger zerolog.Logger
}

// Credential is a NATS credential and the role that it is for. One of the files is set.
type Credential struct {
	Role      bus.Role
	SeedFile  string
	CredsFile string
}

func (c Credential) file() string { return c.SeedFile + c.CredsFile }

// Examine looks at everything. It ends when ctx does; what was not answered until then is unknown, or has failed.
func Examine(ctx context.Context, cfg Config) Report {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f, done, err := connect(ctx, cfg)
	if err != nil {
		return Report{Findings: []Finding{unreachable(err)}}
	}
	defer done()
	f.gather(ctx)
	r := Report{Server: f.conn.URL(), Version: f.conn.ServerVersion()}
	for _, check := range []func(*facts) []Finding{
		checkNodes, checkVersions, checkEncryption, checkMonitors, checkHealth, // the servers
		checkSettings, checkReplicas, checkMembers, checkSync, checkStorage, checkConsumers, checkOwners, // the buckets
		checkClocks,
		checkPlatform, checkRecords, checkFreshness, checkDelivery, // what is in them
		checkAnonymous, checkRoles, // who may do what
	} {
		r.Findings = append(r.Findings, check(f)...)
	}
	return r
}

package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyherald/keyherald/events/bus"
)

// unreachable is all that there is to say without a connection.
func unreachable(err error) Finding {
	f := fail("reach", err.Error(), "a connection", "start the NATS server, or give its address with --nats")
	if errors.Is(err, bus.ErrPermission) {
		f.ToDo = "give a credential that the server knows, with --nkey or --creds"
	}
	return f
}

// checkNodes looks whether all servers can be reached.
func checkNodes(f *facts) (found []Finding) {
	var names []string
	for _, n := range f.nodes {
		switch {
		case n.url != "" && n.err == nil:
			names = append(names, n.label())
		case n.err != nil && n.given:
			found = append(found, fail("nodes", "a server that was named cannot be used: "+n.err.Error(),
				"every server of the cluster up", "start it, or leave it out if it is no more"))
		case n.err != nil && len(names) < f.servers(): // else it is one of them by another address
			found = append(found, unknown("nodes", "a server that others tell of cannot be reached from here: "+n.err.Error(),
				"name its address in --nats, if there is one from here"))
		}
	}
	if len(names) > 0 {
		found = append([]Finding{ok("nodes", "connected to %s", strings.Join(names, ", "))}, found...)
	}
	return found
}

// checkVersions looks at the version of every server.
func checkVersions(f *facts) (found []Finding) {
	versions := map[string]string{} // and a server that has it
	for _, n := range f.nodes {
		if n.Name == "" && n.ID == "" {
			continue // checkNodes has told of it
		}
		err := bus.CheckVersion(n.Version)
		switch {
		case n.Version == "":
			found = append(found, unknown("version", "that of "+n.label()+" is unknown", "name it in --nats, or its monitoring URL in --monitor"))
		case err != nil:
			found = append(found, fail("version", n.label()+": "+err.Error(), "one that keyherald was tested with", "upgrade it"))
		default:
			versions[n.Version] = n.label()
		}
	}
	var list []string
	for v, who := range versions {
		list = append(list, v+" on "+who)
	}
	slices.Sort(list)
	switch {
	case len(list) == 1 && len(found) == 0:
		for v := range versions {
			found = append(found, ok("version", "NATS %s everywhere", v))
		}
	case len(list) > 1:
		found = append(found, warn("version", strings.Join(list, ", "), "the same everywhere", "finish the upgrade"))
	}
	return found
}

// checkEncryption looks whether what goes over a network is protected.
func checkEncryption(f *facts) (found []Finding) {
	for _, n := range f.nodes {
		switch {
		case n.url == "" || n.err != nil:
		case n.Encrypted:
			found = append(found, ok("tls", "%s: the connection is encrypted", n.label()))
		case n.Loopback:
			found = append(found, ok("tls", "%s: the connection does not leave this machine", n.label()))
		default:
			found = append(found, fail("tls", n.label()+" is used over a network without TLS: whoever is on the way can change keys",
				"TLS for clients", "configure tls { } in the server, and use tls:// in all --nats"))
		}
	}
	return found
}

// checkMonitors looks whether the monitoring URLs could be read.
func checkMonitors(f *facts) (found []Finding) {
	for _, m := range f.monitors {
		switch {
		case m.err != nil:
			found = append(found, fail("monitor", m.url+" cannot be used: "+m.err.Error(),
				"the HTTP monitoring of a NATS server", "set http: in the server's configuration, or correct --monitor"))
		case !m.jetStream && m.ill == "": // else it has stopped: see checkHealth
			found = append(found, fail("monitor", m.url+": "+m.name+" has no JetStream",
				"JetStream", "set jetstream { sync_interval: always } in the server's configuration, or leave that server out"))
		default:
			found = append(found, ok("monitor", "%s is %s", m.url, m.name))
		}
	}
	return found
}

// checkHealth looks whether the servers call themselves well. One that could not write to its files says so nowhere else; it takes no writes, and no
// revocation, until it is started again. Of several servers, one that lacks room stops its JetStream.
func checkHealth(f *facts) (found []Finding) {
	for _, m := range f.monitors {
		switch {
		case m.err != nil: // checkMonitors has told of it
		case m.illErr != nil:
			found = append(found, unknown("health", "that of "+m.name+" is unknown: "+m.illErr.Error(), "look at /healthz of its monitoring URL"))
		case m.ill != "":
			toDo := "see the server's log"
			if strings.Contains(m.ill, "write error") || strings.Contains(m.ill, "not enabled") {
				toDo = "see the server's log; make room on its disk, if it is full, and start the server again"
			}
			found = append(found, fail("health", m.name+": "+m.ill, "a server that is well", toDo))
		case m.jetStream:
			found = append(found, ok("health", "%s is well", m.name))
		}
	}
	return found
}

// checkAnonymous looks whether a connection without a credential is refused, by every server.
func checkAnonymous(f *facts) (found []Finding) {
	for _, n := range f.connected() {
		switch err := n.anonymous; {
		case errors.Is(err, errLetIn) && (errors.Is(err, bus.ErrNoBucket) || errors.Is(err, bus.ErrNoJetStream)):
			found = append(found, warn("anonymous", n.label()+": "+errLetIn.Error()+", to an account without the buckets",
				"to be refused, unless others need it", "remove no_auth_user from the server's configuration"))
		case errors.Is(err, errLetIn):
			found = append(found, fail("anonymous", n.label()+": "+errLetIn.Error(),
				"to be refused", "give the server users ("+rolesCommand+"), and remove no_auth_user from its configuration"))
		case errors.Is(err, bus.ErrPermission):
			found = append(found, ok("anonymous", "%s refuses connections without a credential", n.label()))
		default:
			found = append(found, unknown("anonymous", fmt.Sprintf("%s: connecting without a credential: %v", n.label(), err), "try again"))
		}
	}
	return found
}

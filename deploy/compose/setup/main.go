// Command setup makes what the services of docker-compose.yml need to know each other: an authority and the certificates that it signs, and NATS
// users with what their roles may do. It runs at every start, before all others, and has no network.
//
// Every service has a volume of its own, and gets into it what it needs and nothing else:
//
//	nats-1, nats-2, nats-3  ca.pem, tls.pem, tls.key; users.conf, which the server's configuration includes
//	init                    ca.pem; admin.nk
//	issuer-1                ca.pem; issuer.nk, operator.nk
//	issuer-2                ca.pem; issuer.nk
//	billing, gate           ca.pem; verifier.nk
//	nginx                   tls.pem, tls.key
//	operator                ca.pem; operator.nk, for you
//
// The authority's private key and the seeds of the users stay in the volume setup, as they are; the certificates, which are good for a year, are made
// anew. Whoever has that volume is all of them: on more than one machine, it belongs where your other secrets are.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("setup: ")
	volumes := flag.String("volumes", "/volumes", "directory with the volumes")
	keyherald := flag.String("keyherald", "/keyherald", "the keyherald binary, which says what the roles may do")
	flag.Parse()
	if err := run(*volumes, *keyherald); err != nil {
		log.Fatal(err)
	}
}

// service is what one gets into its volume.
type service struct {
	name  string
	roles []string // the service is a user of NATS in each of them, and has the seeds
	ca    bool     // knows the others by the authority
	hosts []string // names in its certificate; none: it has no certificate
	nats  bool     // has the users
}

func services() []service {
	var all []service
	for _, name := range []string{"nats-1", "nats-2", "nats-3"} { // localhost, because their ports are there, too
		all = append(all, service{name: name, ca: true, hosts: []string{name, "localhost"}, nats: true})
	}
	return append(all,
		service{name: "init", ca: true, roles: []string{"admin"}},
		service{name: "issuer-1", ca: true, roles: []string{"issuer", "operator"}},
		service{name: "issuer-2", ca: true, roles: []string{"issuer"}},
		service{name: "billing", ca: true, roles: []string{"verifier"}},
		service{name: "gate", ca: true, roles: []string{"verifier"}},
		service{name: "nginx", hosts: []string{"localhost"}},
		service{name: "operator", ca: true, roles: []string{"operator"}},
	)
}

// user is the name of the NATS user that a service is in a role. No two services are the same: one that leaks is taken away alone.
func (s service) user(role string) string { return s.name + "-" + role }

func run(volumes, keyherald string) error {
	own := filepath.Join(volumes, "setup")
	authority, err := openAuthority(own)
	if err != nil {
		return fmt.Errorf("the authority: %w", err)
	}
	config, err := makeUsers(own, keyherald)
	if err != nil {
		return fmt.Errorf("the NATS users: %w", err)
	}
	for _, s := range services() {
		if err := s.fill(own, filepath.Join(volumes, s.name), authority, config); err != nil {
			return fmt.Errorf("the volume of %s: %w", s.name, err)
		}
	}
	log.Print("every service has its credentials")
	return nil
}

// makeUsers makes the seeds that are not in dir yet, and returns the part of a NATS server's configuration that says what the users may do.
func makeUsers(dir, keyherald string) ([]byte, error) {
	args := []string{"nats-config", "nkeys", "--seeds", dir}
	for _, s := range services() {
		for _, role := range s.roles {
			args = append(args, s.user(role)+":"+role)
		}
	}
	cmd := exec.Command(keyherald, args...)
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

// fill writes the files of a service.
func (s service) fill(own, dir string, authority *authority, config []byte) error {
	files := map[string][]byte{}
	if s.ca {
		files["ca.pem"] = encode(blockCertificate, authority.cert.Raw)
	}
	if s.nats {
		files["users.conf"] = config
	}
	for _, role := range s.roles {
		seed, err := os.ReadFile(filepath.Join(own, s.user(role)+".nk"))
		if err != nil {
			return err
		}
		files[role+".nk"] = seed
	}
	if len(s.hosts) > 0 {
		cert, key, err := authority.sign(s.hosts)
		if err != nil {
			return err
		}
		files["tls.pem"], files["tls.key"] = cert, key
	}
	for name, text := range files {
		if err := replace(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file whole or not at all, for its owner only: another start may be cut off, or run at the same time.
func replace(name string, text []byte) error { return write(name, text, os.Rename) }

// create does so if there is none of that name; otherwise the error is fs.ErrExist.
func create(name string, text []byte) error { return write(name, text, os.Link) }

func write(name string, text []byte, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return place(f.Name(), name)
}

package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/verifier/jws"
)

// server is a real one, with the installation's clients registered.
type server struct {
	*embedded.Server
	dir string
}

// startServer runs a server in dir, at an address or any.
func startServer(ctx context.Context, dir, listen string) (*server, error) {
	s, err := embedded.Start(ctx, embedded.Config{Dir: dir, Listen: listen})
	if err != nil {
		return nil, err
	}
	return &server{s, dir}, nil
}

// put writes new records as an operator does: name, value, name, value and so on.
func (s *server) put(ctx context.Context, records ...string) error {
	conn, err := bus.Connect(ctx, bus.Config{URL: s.URL(), SeedFile: s.KeyFile(bus.Operator)})
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := 0; i < len(records); i += 2 {
		if _, err := conn.Put(ctx, bus.Put{Bucket: bus.Keys, Name: records[i], Value: []byte(records[i+1])}); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) address() string {
	u, err := url.Parse(s.URL())
	if err != nil {
		panic(err)
	}
	return u.Host
}

// liveClaims are offlineClaims of now by the clock on the wall.
func liveClaims() claims {
	at := time.Now().Unix()
	return offlineClaims.with("iat", fmt.Sprint(at)).with("exp", fmt.Sprint(at+900))
}

// exampleServer is a server in a directory of its own.
type exampleServer struct{ *server }

func startExample() (exampleServer, string) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "keyherald")
	if err != nil {
		log.Fatal(err)
	}
	s, err := startServer(ctx, dir, "")
	if err == nil {
		err = s.put(ctx, "issuer.platform", platformRecord, "issuer.orders", ordersRecord, "key.orders.k1", ordersKey.record())
	}
	if err != nil {
		log.Fatal(err)
	}
	token, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: "k1", Type: "at+jwt"}, []byte(liveClaims().String()), ordersKey.key)
	if err != nil {
		log.Fatal(err)
	}
	return exampleServer{s}, token
}

func (s exampleServer) stop() {
	if err := errors.Join(s.Close(), os.RemoveAll(s.dir)); err != nil {
		log.Fatal(err)
	}
}

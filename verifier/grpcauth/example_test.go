package grpcauth_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/grpcauth"
	"github.com/keyherald/keyherald/verifier/verifiertest"
)

// The service is the health service of grpc, in place of one of yours.
func Example() {
	kit := verifiertest.New(exampleT{}, verifier.Config{Audience: "https://orders.example.com"})
	v := kit.Verifier() // verifier.Connect in a program
	billing := kit.Client("billing", verifiertest.Scope("orders:read", "orders:watch"))

	guard, err := grpcauth.New(grpcauth.Config{
		Verifier: v,
		Methods: map[string]grpcauth.Access{
			"/grpc.health.v1.Health/List":  grpcauth.Open(),
			"/grpc.health.v1.Health/Check": grpcauth.Require("orders:read"),
			"/grpc.health.v1.Health/Watch": grpcauth.Require("orders:watch"),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(guard.ServerOptions()...)
	service := health.NewServer()
	healthpb.RegisterHealthServer(server, service)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)

	_, err = client.List(context.Background(), &healthpb.HealthListRequest{})
	fmt.Println("open:", status.Code(err))
	_, err = client.Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println("without a token:", status.Code(err))
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+billing.Token())
	_, err = client.Check(ctx, &healthpb.HealthCheckRequest{})
	fmt.Println("with one:", status.Code(err))

	stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		log.Fatal(err)
	}
	message, err := stream.Recv()
	fmt.Println("a stream:", message.GetStatus(), status.Code(err))
	kit.RevokeKey(billing)
	service.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	message, err = stream.Recv()
	fmt.Println("its next message, the key being revoked:", message.GetStatus(), status.Code(err))

	// Output:
	// open: OK
	// without a token: Unauthenticated
	// with one: OK
	// a stream: SERVING OK
	// its next message, the key being revoked: UNKNOWN Unauthenticated
}

// exampleT takes the place of the t of a test.
type exampleT struct{}

func (exampleT) Helper()                           {}
func (exampleT) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }

package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The errors that callers branch on. They are wrapped: test with errors.Is.
var (
	// ErrConflict: the record has another revision than the one that the write was to replace.
	ErrConflict = errors.New("the record was changed by someone else meanwhile")
	// ErrNotFound: no message was ever written on that name, or none is left.
	ErrNotFound = errors.New("no such record")
	// ErrNoBucket: the bucket does not exist on the server.
	ErrNoBucket = errors.New("the bucket does not exist: keyherald init makes the buckets, and serve on a NATS server of its own")
	// ErrNoLeader: the servers answer, and none of them decides about the bucket.
	ErrNoLeader = errors.New("no NATS server decides about the bucket: too few of those that keep it are up and reach each other")
	// ErrUnreachable: there is no connection to a NATS server.
	ErrUnreachable = errors.New("NATS cannot be reached")
	// ErrUntrusted: the server has no TLS, or no certificate that is to be trusted.
	ErrUntrusted = errors.New("the NATS server cannot be trusted")
	// ErrPermission: the credential's role does not allow it.
	ErrPermission = errors.New("the NATS credential does not allow it")
	// ErrUnknownOutcome: a write was sent, and whether it took place could not be found out in time.
	ErrUnknownOutcome = errors.New("the outcome of the write is unknown: read the record before trying again")
	// ErrNoJetStream: the server, or the credential's account on it, has no JetStream.
	ErrNoJetStream = errors.New("there is no JetStream for this account on the NATS server")
	// ErrOldServer: the server is older than the buckets need.
	ErrOldServer = errors.New("the NATS server is too old")
	// ErrReplicas: the servers are not enough for the replicas asked for.
	ErrReplicas = errors.New("the NATS servers cannot keep that many replicas")
	// ErrTooManyConsumers: the stream, the account or the server has as many followers as it may have.
	ErrTooManyConsumers = errors.New("the NATS server allows no more consumers")
	// ErrTooLarge: the value is larger than a record may be.
	ErrTooLarge = errors.New("the value is too large for a record")
)

var (
	// errOffline is why a write was not sent.
	errOffline = errors.New("there is no connection at the moment")
	// errClosed is why nothing can be asked any more.
	errClosed = errors.New("the connection was closed")
)

// translate turns an error of NATS into ours. It is the only place that knows their codes.
func translate(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &api):
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return ErrConflict
		case jetstream.JSErrCodeStreamNotFound, jetstream.JSErrCodeJetStreamNotEnabledForAccount:
			return ErrNoBucket
		case codeNoLeader:
			return ErrNoLeader
		case jetstream.JSErrCodeMessageNotFound:
			return ErrNotFound
		case jetstream.JSErrCodeStreamMessageExceedsMaximum:
			return ErrTooLarge
		case jetstream.JSErrCodeMaximumConsumersLimit:
			return ErrTooManyConsumers
		}
		return err
	case errors.Is(err, jetstream.ErrMaximumConsumersLimit):
		return ErrTooManyConsumers
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return ErrNoBucket
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return ErrNotFound
	case errors.Is(err, nats.ErrMaxPayload):
		return ErrTooLarge
	case errors.Is(err, nats.ErrPermissionViolation):
		return fmt.Errorf("%w: %w", ErrPermission, err)
	case isDisconnected(err):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

// conflictsWith is the revision because of which a write was refused, unless it was because of another that is under way.
func conflictsWith(err error) (last uint64, ok bool) {
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, false
	}
	_, err = fmt.Sscanf(api.Description, "wrong last sequence: %d", &last)
	return last, err == nil
}

// The codes of errors that the client library has no name for.
const (
	codeNoLeader           jetstream.ErrorCode = 10008 // in a cluster: neither the stream nor, perhaps, JetStream has a leader
	codeNoPeers            jetstream.ErrorCode = 10005 // in a cluster: no suitable peers for placement
	codeReplicasNoCluster  jetstream.ErrorCode = 10074 // replicas > 1 not supported in non-clustered mode
	codeInsufficientStores jetstream.ErrorCode = 10023 // insufficient resources
)

// translateSetup is translate for making and checking buckets, when it is no bucket that is missing.
func translateSetup(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case jetstream.JSErrCodeJetStreamNotEnabledForAccount, jetstream.JSErrCodeJetStreamNotEnabled:
			return ErrNoJetStream
		case codeNoPeers, codeReplicasNoCluster, codeInsufficientStores:
			return fmt.Errorf("%w: the server says: %s", ErrReplicas, api.Description)
		}
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return ErrNoJetStream
	}
	return translate(err)
}

// isDisconnected reports whether a request failed for want of a connection.
func isDisconnected(err error) bool {
	for _, lost := range []error{
		errDisconnected, errOffline, errClosed, nats.ErrDisconnected, nats.ErrStaleConnection, nats.ErrConnectionClosed,
		nats.ErrReconnectBufExceeded, nats.ErrNoServers, nats.ErrConnectionReconnecting,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// isUnknown reports whether a write that failed with err may have taken place all the same: it was sent, and no answer came.
func isUnknown(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, errDisconnected) || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrStaleConnection) ||
		errors.Is(err, nats.ErrConnectionClosed)
}

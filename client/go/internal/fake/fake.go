// Package fake is a server for the tests of the client: real gRPC, with answers that the test gives.
package fake

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// Call is a call as the server saw it.
type Call struct {
	Method   string
	Metadata metadata.MD
	Request  proto.Message
	// Deadline tells whether the call has one.
	Deadline bool
}

// First is the first value of a metadata key.
func (c Call) First(key string) string {
	if values := c.Metadata.Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Server answers what the test says.
type Server struct {
	// Address is its host and port.
	Address string

	mutex sync.Mutex
	calls []Call
}

// Start starts a server that ends with the test. `answer` gets each call and the context of it.
func Start(t *testing.T, answer func(context.Context, Call) (proto.Message, error)) *Server {
	return start(t, answer)
}

// StartTLS is [Start] with TLS.
func StartTLS(t *testing.T, config *tls.Config, answer func(context.Context, Call) (proto.Message, error)) *Server {
	return start(t, answer, grpc.Creds(credentials.NewTLS(config)))
}

func start(
	t *testing.T, answer func(context.Context, Call) (proto.Message, error), options ...grpc.ServerOption,
) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := &Server{Address: listener.Addr().String()}
	interceptor := func(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		_, hasDeadline := ctx.Deadline()
		call := Call{Method: info.FullMethod, Metadata: md, Request: request.(proto.Message), Deadline: hasDeadline}
		started.mutex.Lock()
		started.calls = append(started.calls, call)
		started.mutex.Unlock()
		if _, isHealth := request.(*healthpb.HealthCheckRequest); isHealth {
			return next(ctx, request)
		}
		return answer(ctx, call)
	}
	server := grpc.NewServer(append(options, grpc.UnaryInterceptor(interceptor))...)
	lanyardv1.RegisterSessionServiceServer(server, lanyardv1.UnimplementedSessionServiceServer{})
	lanyardv1.RegisterUserServiceServer(server, lanyardv1.UnimplementedUserServiceServer{})
	lanyardv1.RegisterLinkedAuthServiceServer(server, lanyardv1.UnimplementedLinkedAuthServiceServer{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return started
}

// Calls returns the calls so far.
func (s *Server) Calls() []Call {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]Call(nil), s.calls...)
}

// Last returns the last call.
func (s *Server) Last(t *testing.T) Call {
	t.Helper()
	calls := s.Calls()
	if len(calls) == 0 {
		t.Fatal("nothing was called")
	}
	return calls[len(calls)-1]
}

// Good is the verdict of a good token.
func Good() *lanyardv1.VerifySessionResponse {
	session := &lanyardv1.VerifiedSession{
		SessionId: "ses_1", UserId: "usr_1", Username: "alice", Roles: []lanyardv1.Role{lanyardv1.Role_ROLE_REGULAR},
	}
	return &lanyardv1.VerifySessionResponse{Verdict: &lanyardv1.VerifySessionResponse_Session{Session: session}}
}

// Revoked is the verdict of a token whose session has ended.
func Revoked() *lanyardv1.VerifySessionResponse {
	inactive := &lanyardv1.InactiveSession{
		Reason:       lanyardv1.InactiveReason_INACTIVE_REASON_REVOKED,
		RevokeReason: lanyardv1.RevokeReason_REVOKE_REASON_USER_LOCKED,
	}
	return &lanyardv1.VerifySessionResponse{Verdict: &lanyardv1.VerifySessionResponse_Inactive{Inactive: inactive}}
}

// Refusal is a status as Lanyard sends it.
func Refusal(code codes.Code, reason, correlationID string, more ...protoadapt.MessageV1) error {
	details := append([]protoadapt.MessageV1{
		&errdetails.ErrorInfo{Reason: reason, Domain: "lanyard"},
		&errdetails.RequestInfo{RequestId: correlationID},
	}, more...)
	answer, err := status.New(code, "refused").WithDetails(details...)
	if err != nil {
		return err
	}
	return answer.Err()
}

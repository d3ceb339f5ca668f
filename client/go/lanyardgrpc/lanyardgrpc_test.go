package lanyardgrpc_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
	"github.com/lanyard/lanyard/client/go/lanyardgrpc"
)

// service is one whose answers say who is in: SERVING for alice.
type service struct {
	healthpb.UnimplementedHealthServer
}

func seen(ctx context.Context) *healthpb.HealthCheckResponse {
	session, isIn := lanyard.SessionFrom(ctx)
	_, hasSubject := lanyard.SubjectFrom(ctx)
	if isIn && hasSubject && session.GetUsername() == "alice" && lanyard.CorrelationIDFrom(ctx) == "order-4711" {
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}
}

func (service) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return seen(ctx), nil
}

func (service) Watch(_ *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	return stream.Send(seen(stream.Context()))
}

// protected is a client of a protected service, and the Lanyard that the service asks.
func protected(
	t *testing.T, answer proto.Message, refusal error, options ...lanyardgrpc.Option,
) (healthpb.HealthClient, *fake.Server) {
	t.Helper()
	asked := fake.Start(t, func(context.Context, fake.Call) (proto.Message, error) { return answer, refusal })
	client, err := lanyard.NewClient("http://"+asked.Address, lanyard.WithRetry(lanyard.NeverRetry))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.UnaryInterceptor(lanyardgrpc.UnaryServerInterceptor(client, options...)),
		grpc.StreamInterceptor(lanyardgrpc.StreamServerInterceptor(client, options...)),
	)
	healthpb.RegisterHealthServer(server, service{})
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); server.Stop(); _ = client.Close() })
	return healthpb.NewHealthClient(conn), asked
}

func withToken(t *testing.T) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "bearer lyu1_token", "x-correlation-id", "order-4711")
}

// call makes the call in both ways, and gives what came of each.
func call(ctx context.Context, client healthpb.HealthClient) map[string]func() (healthpb.HealthCheckResponse_ServingStatus, metadata.MD, error) {
	return map[string]func() (healthpb.HealthCheckResponse_ServingStatus, metadata.MD, error){
		"unary": func() (healthpb.HealthCheckResponse_ServingStatus, metadata.MD, error) {
			var header metadata.MD
			answer, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Header(&header))
			return answer.GetStatus(), header, err
		},
		"stream": func() (healthpb.HealthCheckResponse_ServingStatus, metadata.MD, error) {
			stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
			if err != nil {
				return 0, nil, err
			}
			answer, err := stream.Recv()
			header, _ := stream.Header()
			return answer.GetStatus(), header, err
		},
	}
}

func TestACallWithAGoodTokenComesInWithSessionAndSubject(t *testing.T) {
	client, asked := protected(t, fake.Good(), nil)
	for kind, made := range call(withToken(t), client) {
		answer, header, err := made()
		if answer != healthpb.HealthCheckResponse_SERVING || err != nil {
			t.Errorf("%s: %v, %v", kind, answer, err)
		}
		if got := header.Get("x-correlation-id"); len(got) != 1 || got[0] != "order-4711" {
			t.Errorf("%s: %q", kind, got)
		}
		sent := asked.Last(t).Request.(*lanyardv1.VerifySessionRequest)
		if sent.GetUst() != "lyu1_token" || sent.GetClient().GetRemoteAddr() != "127.0.0.1" || sent.GetClient().GetUserAgent() == "" {
			t.Errorf("%s: %v", kind, sent)
		}
	}
}

func TestNobodyComesInWithoutAGoodSession(t *testing.T) {
	for name, check := range map[string]struct {
		answer  proto.Message
		refusal error
		ctx     context.Context
		code    codes.Code
	}{
		"no token":            {fake.Good(), nil, t.Context(), codes.Unauthenticated},
		"ended session":       {fake.Revoked(), nil, withToken(t), codes.Unauthenticated},
		"database is down":    {nil, fake.Refusal(codes.Unavailable, "STORE_UNAVAILABLE", "id"), withToken(t), codes.Unavailable},
		"the service's fault": {nil, fake.Refusal(codes.PermissionDenied, "CALLER_FORBIDDEN", "id"), withToken(t), codes.Internal},
	} {
		client, _ := protected(t, check.answer, check.refusal)
		for kind, made := range call(check.ctx, client) {
			_, header, err := made()
			refused := status.Convert(err)
			if refused.Code() != check.code {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
			details := map[string]bool{}
			for _, detail := range refused.Details() {
				switch detail := detail.(type) {
				case *errdetails.RequestInfo:
					details["id"] = len(header.Get("x-correlation-id")) == 0 || header.Get("x-correlation-id")[0] == detail.GetRequestId()
				case *errdetails.RetryInfo:
					details["wait"] = detail.GetRetryDelay().AsDuration() > 0
				case *errdetails.ErrorInfo:
					t.Errorf("%s, %s: the refusal of Lanyard is passed on", name, kind)
				}
			}
			if !details["id"] || details["wait"] != (check.code == codes.Unavailable) {
				t.Errorf("%s, %s: %v", name, kind, refused.Details())
			}
		}
	}
}

func TestOnlyMethodsThatAreNamedArePublic(t *testing.T) {
	client, asked := protected(t, fake.Good(), nil, lanyardgrpc.WithPublic("/grpc.health.v1.Health/Check"))
	calls := call(t.Context(), client)
	if answer, _, err := calls["unary"](); answer != healthpb.HealthCheckResponse_NOT_SERVING || err != nil {
		t.Errorf("%v, %v", answer, err)
	}
	if _, _, err := calls["stream"](); status.Code(err) != codes.Unauthenticated {
		t.Errorf("%v", err)
	}
	if got := len(asked.Calls()); got != 0 {
		t.Errorf("%d calls", got)
	}
}

// Package lanyardgrpc protects a service of grpc-go:
//
//	server := grpc.NewServer(
//		grpc.UnaryInterceptor(lanyardgrpc.UnaryServerInterceptor(client)),
//		grpc.StreamInterceptor(lanyardgrpc.StreamServerInterceptor(client)),
//	)
//
//	func (s *orders) ListOrders(ctx context.Context, request *pb.ListOrdersRequest) (*pb.ListOrdersResponse, error) {
//		session, _ := lanyard.SessionFrom(ctx) // always there behind the interceptor
//		...
//	}
package lanyardgrpc

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lanyard/lanyard/client/go/internal/guard"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// Option changes what the interceptors do.
type Option func(*protector)

type protector struct {
	client *lanyard.Client
	public []string
	token  func(context.Context) lanyard.UST
	info   func(context.Context) *lanyardv1.ClientInfo
}

// WithPublic names full methods that need no session: "/grpc.health.v1.Health/Check".
func WithPublic(fullMethods ...string) Option {
	return func(p *protector) { p.public = append(p.public, fullMethods...) }
}

// WithToken says where in the context of a call the token is. Default: the metadata `authorization: Bearer <token>`.
func WithToken(token func(context.Context) lanyard.UST) Option {
	return func(p *protector) { p.token = token }
}

// WithClientInfo says where the user of a call is. Default: the address of the connection and the metadata `user-agent`.
func WithClientInfo(info func(context.Context) *lanyardv1.ClientInfo) Option {
	return func(p *protector) { p.info = info }
}

// UnaryServerInterceptor lets only calls with a good session through.
//
// The handler finds in its context the session ([lanyard.SessionFrom]), the user, to act on their behalf
// ([lanyard.SubjectFrom]), and the correlation ID ([lanyard.CorrelationIDFrom]), which is that of the metadata
// `x-correlation-id`, else a new one, and is in the header of the answer too. Calls of Lanyard with that context say where
// the user is.
//
// Without a good session the answer is UNAUTHENTICATED, and UNAVAILABLE if Lanyard cannot say: never does anything else let
// somebody in.
func UnaryServerInterceptor(client *lanyard.Client, options ...Option) grpc.UnaryServerInterceptor {
	p := newProtector(client, options)
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx = withCorrelationID(ctx)
		// It fails only where the header has been sent, and here nothing has.
		_ = grpc.SetHeader(ctx, answerHeader(ctx))
		ctx, err := p.admit(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return next(ctx, request)
	}
}

// StreamServerInterceptor lets only streams with a good session through, as [UnaryServerInterceptor] does. The session is
// verified when the stream begins: for a long one, verify again.
func StreamServerInterceptor(client *lanyard.Client, options ...Option) grpc.StreamServerInterceptor {
	p := newProtector(client, options)
	return func(service any, inner grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx := withCorrelationID(inner.Context())
		_ = inner.SetHeader(answerHeader(ctx))
		ctx, err := p.admit(ctx, info.FullMethod)
		if err != nil {
			return err
		}
		return next(service, &stream{inner, ctx})
	}
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *stream) Context() context.Context { return s.ctx }

func newProtector(client *lanyard.Client, options []Option) *protector {
	p := &protector{client: client, token: bearer, info: clientInfo}
	for _, option := range options {
		option(p)
	}
	return p
}

func (p *protector) admit(ctx context.Context, fullMethod string) (context.Context, error) {
	if slices.Contains(p.public, fullMethod) {
		return ctx, nil
	}
	admitted, err := guard.Admit(ctx, p.client, p.token(ctx), p.info(ctx))
	if err != nil {
		return nil, refuse(ctx, err)
	}
	return admitted, nil
}

// refuse tells the correlation ID, and nothing of the reason. What is no answer about the session, it logs.
func refuse(ctx context.Context, err error) error {
	refusal, wait := guard.Judge(err)
	if refusal == guard.Unauthenticated {
		return refusalStatus(ctx, codes.Unauthenticated, "there is no good session", 0)
	}
	slog.ErrorContext(ctx, "the session could not be verified", "error", err)
	if refusal == guard.Unavailable {
		return refusalStatus(ctx, codes.Unavailable, "the session cannot be verified now", max(wait, time.Second))
	}
	return refusalStatus(ctx, codes.Internal, "the session cannot be verified", 0)
}

func refusalStatus(ctx context.Context, code codes.Code, message string, wait time.Duration) error {
	plain := status.New(code, message)
	details := []protoadapt.MessageV1{&errdetails.RequestInfo{RequestId: lanyard.CorrelationIDFrom(ctx)}}
	if wait > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	detailed, err := plain.WithDetails(details...)
	if err != nil {
		return plain.Err()
	}
	return detailed.Err()
}

func withCorrelationID(ctx context.Context) context.Context {
	return lanyard.WithCorrelationID(ctx, incoming(ctx, lanyard.CorrelationIDHeader))
}

func answerHeader(ctx context.Context) metadata.MD {
	return metadata.Pairs(lanyard.CorrelationIDHeader, lanyard.CorrelationIDFrom(ctx))
}

func bearer(ctx context.Context) lanyard.UST { return guard.Bearer(incoming(ctx, "authorization")) }

func clientInfo(ctx context.Context) *lanyardv1.ClientInfo {
	var address string
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		address = from.Addr.String()
	}
	return guard.ClientInfo(address, incoming(ctx, "user-agent"))
}

func incoming(ctx context.Context, key string) string {
	values := metadata.ValueFromIncomingContext(ctx, key)
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

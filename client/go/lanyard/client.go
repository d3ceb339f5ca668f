package lanyard

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

const version = "0.1.0"

// Client is a connection to Lanyard; make one with [NewClient] when the service starts. It may be used by many goroutines
// at once.
//
// It is a [grpc.ClientConnInterface] too: a generated stub over it ([Client.Sessions], or any of package lanyardv1) has
// the same key, deadline, retries, correlation ID and typed errors.
type Client struct {
	endpoint string
	conn     *grpc.ClientConn
	// The value of the metadata; nil without a key. A function, because nothing prints what is in one: see [UST].
	authorization func() []string
	info          *lanyardv1.ClientInfo
	timeout       time.Duration
}

var _ grpc.ClientConnInterface = (*Client)(nil)

// NewClient makes a client of the server at endpoint: `http://host:port` or `https://host:port`. It connects with the
// first call. Where the name has several addresses, the calls are shared among them.
func NewClient(endpoint string, options ...Option) (*Client, error) {
	settings := settings{timeout: defaultTimeout, retry: DefaultRetryPolicy}
	for _, option := range options {
		if err := option(&settings); err != nil {
			return nil, err
		}
	}
	conn, err := settings.connect(endpoint)
	if err != nil {
		return nil, err
	}
	client := &Client{endpoint: endpoint, conn: conn, info: settings.info, timeout: settings.timeout}
	if settings.apiKey != "" {
		values := []string{"Bearer " + settings.apiKey}
		client.authorization = func() []string { return values }
	}
	return client, nil
}

// WithTimeout is the same client, on the same connection, whose calls may take this long with all their attempts.
func (c *Client) WithTimeout(timeout time.Duration) *Client {
	other := *c
	other.timeout = timeout
	return &other
}

// Close ends the connection. Calls that are under way fail.
func (c *Client) Close() error { return c.conn.Close() }

// String names the server.
func (c Client) String() string { return "lanyard.Client(" + c.endpoint + ")" }

// Format names the server, whatever the verb: nothing that is in a client is for printing.
func (c Client) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, c.String()) }

// Sessions is the generated stub of SessionService over this client.
func (c *Client) Sessions() lanyardv1.SessionServiceClient {
	return lanyardv1.NewSessionServiceClient(c)
}

// LinkedAuth is the generated stub of LinkedAuthService over this client.
func (c *Client) LinkedAuth() lanyardv1.LinkedAuthServiceClient {
	return lanyardv1.NewLinkedAuthServiceClient(c)
}

// IsServing asks the server whether it serves; needs no key. `service` is empty for the server as a whole. It is not tried
// again: the answer is about this moment.
func (c *Client) IsServing(ctx context.Context, service string) (bool, error) {
	answer, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	return answer.GetStatus() == healthpb.HealthCheckResponse_SERVING, err
}

// Invoke sends a request of the contract; generated stubs call it. `client` is filled in if it is absent; `ust` is sent as
// it is: see [Client.OnBehalfOf].
func (c *Client) Invoke(ctx context.Context, method string, request, answer any, options ...grpc.CallOption) error {
	ctx, id := c.outgoing(ctx)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.conn.Invoke(ctx, method, c.withClientInfo(ctx, request), answer, options...); err != nil {
		return newError(err, id)
	}
	return nil
}

// NewStream begins a stream; generated stubs call it. A stream has no deadline but that of its context.
func (c *Client) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	ctx, id := c.outgoing(ctx)
	inner, err := c.conn.NewStream(ctx, desc, method, options...)
	if err != nil {
		return nil, newError(err, id)
	}
	return &stream{ClientStream: inner, client: c, correlationID: id}, nil
}

// outgoing gives the context the metadata of a call.
func (c *Client) outgoing(ctx context.Context) (context.Context, string) {
	ctx, id := withOwnCorrelationID(ctx)
	md, has := metadata.FromOutgoingContext(ctx)
	if !has {
		md = make(metadata.MD, 2)
	}
	md[CorrelationIDHeader] = []string{id}
	if c.authorization != nil {
		md["authorization"] = c.authorization()
	}
	return metadata.NewOutgoingContext(ctx, md), id
}

// clientInfo says where the user is: what the context says, in the app of the client if it names none.
func (c *Client) clientInfo(ctx context.Context) *lanyardv1.ClientInfo {
	info := ClientInfoFrom(ctx)
	if info == nil {
		return c.info
	}
	if info.GetCurrentApp() != "" || c.info == nil {
		return info
	}
	return &lanyardv1.ClientInfo{
		CurrentApp: c.info.GetCurrentApp(),
		RemoteAddr: info.GetRemoteAddr(),
		UserAgent:  info.GetUserAgent(),
	}
}

func (c *Client) withClientInfo(ctx context.Context, request any) any {
	message, ok := request.(proto.Message)
	if !ok {
		return request
	}
	info := c.clientInfo(ctx)
	if info == nil {
		return request
	}
	return withClient(message, info)
}

// stream turns the errors of a stream into those of the client.
type stream struct {
	grpc.ClientStream
	client        *Client
	correlationID string
}

func (s *stream) SendMsg(message any) error {
	return s.mapped(s.ClientStream.SendMsg(s.client.withClientInfo(s.Context(), message)))
}

func (s *stream) RecvMsg(message any) error { return s.mapped(s.ClientStream.RecvMsg(message)) }

func (s *stream) CloseSend() error { return s.mapped(s.ClientStream.CloseSend()) }

func (s *stream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	return header, s.mapped(err)
}

func (s *stream) mapped(err error) error {
	if err == nil || isEndOfStream(err) {
		return err
	}
	return newError(err, s.correlationID)
}

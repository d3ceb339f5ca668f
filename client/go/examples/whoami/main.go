// Command whoami is a service that only people with a good session may ask, and that asks another such service on their
// behalf: one correlation ID and one trace go through all of them.
//
//	GET /whoami
//	authorization: Bearer <token of the user>
//	x-correlation-id: order-4711
//
//	{"language": "go", "username": "alice", "correlation_id": "order-4711", "links": 1, "next": {...}}
//
// It is configured by the environment:
//
//	LISTEN                        where it listens: 127.0.0.1:8080
//	LANYARD_ENDPOINT              where Lanyard is: http://127.0.0.1:50051
//	LANYARD_CALLER_KEY            the key of this service
//	NEXT                          the next service: http://127.0.0.1:8081; without it the chain ends here
//	OTEL_EXPORTER_OTLP_ENDPOINT   where spans go: http://127.0.0.1:4317; without it they go nowhere
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/lanyard/lanyard/client/go/lanyard"
	"github.com/lanyard/lanyard/client/go/lanyardhttp"
	"github.com/lanyard/lanyard/client/go/lanyardotel"
)

const longestAnswer = 1 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("whoami ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	endTracing, err := startTracing(ctx)
	if err != nil {
		return err
	}
	defer endTracing()

	client, err := lanyard.NewClient(os.Getenv("LANYARD_ENDPOINT"),
		lanyard.WithAPIKey(os.Getenv("LANYARD_CALLER_KEY")), lanyardotel.WithTracing())
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()

	return serve(ctx, newService(client, os.Getenv("NEXT")))
}

func newService(client *lanyard.Client, next string) http.Handler {
	transport := lanyardhttp.Transport(otelhttp.NewTransport(http.DefaultTransport))
	whoami := &whoami{next: next, http: &http.Client{Transport: transport, Timeout: 10 * time.Second}}
	mux := http.NewServeMux()
	mux.Handle("GET /whoami", lanyardhttp.Protect(client)(whoami))
	return otelhttp.NewHandler(mux, "whoami")
}

// whoami says who asks, how many accounts are linked to them, and what the next service says of them.
type whoami struct {
	next string
	http *http.Client
}

type answer struct {
	Language      string          `json:"language"`
	Username      string          `json:"username"`
	CorrelationID string          `json:"correlation_id"`
	Links         int             `json:"links"`
	Next          json.RawMessage `json:"next,omitempty"`
}

func (s *whoami) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	session, isIn := lanyard.SessionFrom(r.Context())
	user, _ := lanyard.SubjectFrom(r.Context())
	if !isIn {
		http.Error(w, "this must be behind lanyardhttp.Protect", http.StatusInternalServerError)
		return
	}
	said := answer{Language: "go", Username: session.Username, CorrelationID: lanyard.CorrelationIDFrom(r.Context())}
	links, err := user.GetLinkedAuthList(r.Context(), "")
	if err != nil {
		slog.ErrorContext(r.Context(), "Lanyard failed", "error", err, "correlation_id", said.CorrelationID)
		http.Error(w, "Lanyard failed", http.StatusBadGateway)
		return
	}
	said.Links = len(links)
	if s.next != "" {
		next, err := s.ask(r)
		if err != nil {
			slog.ErrorContext(r.Context(), "the next service failed", "error", err, "correlation_id", said.CorrelationID)
			http.Error(w, "the next service failed", http.StatusBadGateway)
			return
		}
		said.Next = next
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(said) // who has gone away need not be told
}

// ask asks the next service for the same user. The transports add correlation ID and trace.
func (s *whoami) ask(r *http.Request) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.next+"/whoami", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", r.Header.Get("Authorization"))
	response, err := s.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return nil, err
	}
	if !json.Valid(body) {
		return nil, errors.New("it did not answer JSON")
	}
	return body, nil
}

// startTracing sets the global tracer provider; what it returns sends the last spans.
func startTracing(ctx context.Context) (end func(), err error) {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(resource.Default())}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		exporter, err := otlptracegrpc.New(ctx)
		if err != nil {
			return nil, err
		}
		options = append(options, sdktrace.WithBatcher(exporter))
	}
	provider := sdktrace.NewTracerProvider(options...)
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			slog.Error("the last spans were not sent", "error", err)
		}
	}, nil
}

func serve(ctx context.Context, handler http.Handler) error {
	listener, err := net.Listen("tcp", os.Getenv("LISTEN"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	fmt.Printf("listening on http://%s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// Package lanyardotel traces the calls of the client with OpenTelemetry, by its standard instrumentation of grpc-go:
//
//	client, err := lanyard.NewClient(endpoint, lanyard.WithAPIKey(key), lanyardotel.WithTracing())
//
// It is a package of its own so that who does not trace need not build OpenTelemetry.
package lanyardotel

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"

	"github.com/lanyard/lanyard/client/go/lanyard"
)

// WithTracing makes a span for each call, in the trace of its context, and sends `traceparent` and `tracestate` along, so
// that the spans of the server belong to the same trace. Providers are the global ones, if the options do not say
// otherwise; the global propagator, which does nothing unless somebody sets it, does not matter.
func WithTracing(options ...otelgrpc.Option) lanyard.Option {
	own := []otelgrpc.Option{otelgrpc.WithPropagators(propagation.TraceContext{})}
	handler := otelgrpc.NewClientHandler(append(own, options...)...)
	return lanyard.WithDialOptions(grpc.WithStatsHandler(handler))
}

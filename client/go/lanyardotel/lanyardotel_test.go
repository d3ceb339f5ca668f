package lanyardotel_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	"github.com/lanyard/lanyard/client/go/lanyardotel"
)

func TestACallCarriesTheTraceOfItsContext(t *testing.T) {
	server := fake.Start(t, func(context.Context, fake.Call) (proto.Message, error) { return fake.Good(), nil })
	client, err := lanyard.NewClient("http://"+server.Address, lanyardotel.WithTracing())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	state, _ := trace.ParseTraceState("vendor=value")
	span := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state,
	})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	if _, err := client.Verify(ctx, lanyard.NewUST("token")); err != nil {
		t.Fatal(err)
	}
	call := server.Last(t)
	if got := call.First("traceparent"); !strings.Contains(got, span.TraceID().String()) {
		t.Errorf("traceparent: %q", got)
	}
	if got := call.First("tracestate"); got != "vendor=value" {
		t.Errorf("tracestate: %q", got)
	}
}

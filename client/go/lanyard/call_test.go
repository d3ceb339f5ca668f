package lanyard_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

func TestACallCarriesTheKeyTheCorrelationIDAndADeadline(t *testing.T) {
	server := answering(t, fake.Good(), nil)
	client := connect(t, server, lanyard.WithAPIKey("lyk1_key"))
	ctx := lanyard.WithCorrelationID(t.Context(), "order-4711")
	if _, err := client.Verify(ctx, ust); err != nil {
		t.Fatal(err)
	}
	call := server.Last(t)
	if got := call.Metadata.Get("authorization"); len(got) != 1 || got[0] != "Bearer lyk1_key" {
		t.Errorf("authorization: %q", got)
	}
	if got := call.Metadata.Get("x-correlation-id"); len(got) != 1 || got[0] != "order-4711" {
		t.Errorf("x-correlation-id: %q", got)
	}
	if !call.Deadline {
		t.Error("the call has no deadline")
	}
}

func TestWhatAServiceGotFromItsOwnCallerIsNotPassedOnAsItsKey(t *testing.T) {
	server := answering(t, fake.Good(), nil)
	client := connect(t, server, lanyard.WithAPIKey("lyk1_key"))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer other", "x-correlation-id", "other")
	if _, err := client.Verify(ctx, ust); err != nil {
		t.Fatal(err)
	}
	call := server.Last(t)
	if got := call.Metadata.Get("authorization"); len(got) != 1 || got[0] != "Bearer lyk1_key" {
		t.Errorf("authorization: %q", got)
	}
	if got := call.Metadata.Get("x-correlation-id"); len(got) != 1 || got[0] == "other" {
		t.Errorf("x-correlation-id: %q", got)
	}
}

func TestACallWithoutACorrelationIDGetsANewOneEachTime(t *testing.T) {
	server := answering(t, fake.Good(), nil)
	client := connect(t, server)
	for range 2 {
		if _, err := client.Verify(t.Context(), ust); err != nil {
			t.Fatal(err)
		}
	}
	calls := server.Calls()
	one, two := calls[0].First("x-correlation-id"), calls[1].First("x-correlation-id")
	if !lanyard.IsCorrelationID(one) || one == two {
		t.Errorf("%q and %q", one, two)
	}
}

func TestOnlyWhatTheContractAllowsIsACorrelationID(t *testing.T) {
	long := string(make([]byte, 129))
	for _, bad := range []string{"", " ", "a b", "ä", "a\nb", "a/b", long} {
		if lanyard.IsCorrelationID(bad) {
			t.Errorf("%q is none", bad)
		}
		got := lanyard.CorrelationIDFrom(lanyard.WithCorrelationID(t.Context(), bad))
		if got == bad || !lanyard.IsCorrelationID(got) {
			t.Errorf("%q became %q", bad, got)
		}
	}
	for _, good := range []string{"a", "order-4711", "A.b_c:d-9"} {
		if got := lanyard.CorrelationIDFrom(lanyard.WithCorrelationID(t.Context(), good)); got != good {
			t.Errorf("%q became %q", good, got)
		}
	}
	if got := lanyard.CorrelationIDFrom(t.Context()); got != "" {
		t.Errorf("a context without one has %q", got)
	}
}

func TestWhereTheUserIsIsSaidInTheAppOfTheClient(t *testing.T) {
	server := answering(t, fake.Good(), nil)
	client := connect(t, server, lanyard.WithCurrentApp("CRM"))
	info := func(ctx context.Context) *lanyardv1.ClientInfo {
		t.Helper()
		if _, err := client.Verify(ctx, ust); err != nil {
			t.Fatal(err)
		}
		return server.Last(t).Request.(*lanyardv1.VerifySessionRequest).GetClient()
	}
	here := &lanyardv1.ClientInfo{RemoteAddr: "192.0.2.7", UserAgent: "test"}
	elsewhere := &lanyardv1.ClientInfo{CurrentApp: "Shop", RemoteAddr: "192.0.2.8"}
	for name, check := range map[string]struct {
		ctx    context.Context
		wanted *lanyardv1.ClientInfo
	}{
		"nothing is said":     {t.Context(), &lanyardv1.ClientInfo{CurrentApp: "CRM"}},
		"an address is said":  {lanyard.WithClientInfo(t.Context(), here), &lanyardv1.ClientInfo{CurrentApp: "CRM", RemoteAddr: "192.0.2.7", UserAgent: "test"}},
		"another app is said": {lanyard.WithClientInfo(t.Context(), elsewhere), elsewhere},
	} {
		if got := info(check.ctx); !proto.Equal(got, check.wanted) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if here.GetCurrentApp() != "" {
		t.Error("the info of the context was changed")
	}
}

func TestACallEndsAtTheDeadlineOfTheClientOrThatOfItsContext(t *testing.T) {
	server := fake.Start(t, func(ctx context.Context, _ fake.Call) (proto.Message, error) {
		<-ctx.Done() // the server is told, too
		return nil, ctx.Err()
	})
	client := connect(t, server, lanyard.WithTimeout(time.Hour))
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for name, call := range map[string]func() error{
		"client":  func() error { _, err := client.WithTimeout(20*time.Millisecond).Verify(t.Context(), ust); return err },
		"context": func() error { _, err := client.Verify(soon, ust); return err },
	} {
		err := call()
		if !errors.Is(err, lanyard.ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, lanyard.ErrInactive) {
			t.Errorf("%s: no answer is taken for one", name)
		}
	}
}

func TestACancelledCallIsSaidToBe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := verifying(t, fake.Good(), nil).Verify(ctx, ust)
	var failure *lanyard.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &failure) || failure.Code != codes.Canceled {
		t.Errorf("%v", err)
	}
}

func TestHealthIsAsked(t *testing.T) {
	client := verifying(t, nil, nil)
	if serving, err := client.IsServing(t.Context(), ""); !serving || err != nil {
		t.Errorf("%t, %v", serving, err)
	}
	if serving, err := client.IsServing(t.Context(), "nothing"); serving || err == nil {
		t.Errorf("%t, %v", serving, err)
	}
}

func TestAStreamHasTheSameIDAndTheSameErrors(t *testing.T) {
	client := verifying(t, nil, nil)
	ctx, cancel := context.WithCancel(lanyard.WithCorrelationID(t.Context(), "order-4711"))
	stream, err := healthpb.NewHealthClient(client).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := stream.Recv(); err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", answer, err)
	}
	cancel()
	_, err = stream.Recv()
	var failure *lanyard.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &failure) || failure.CorrelationID != "order-4711" {
		t.Errorf("%v", err)
	}
}

package lanyard_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

var quick = lanyard.WithRetry(lanyard.RetryPolicy{
	MaxAttempts: 3, InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond,
})

// unavailable is a server that cannot answer so often, and then answers.
func unavailable(t *testing.T, times int32, answer proto.Message) *fake.Server {
	var failures atomic.Int32
	return fake.Start(t, func(context.Context, fake.Call) (proto.Message, error) {
		if failures.Add(1) <= times {
			return nil, fake.Refusal(codes.Unavailable, "STORE_UNAVAILABLE", "server-id")
		}
		return answer, nil
	})
}

func TestAReadThatFindsTheServerUnavailableIsTriedAgainWithTheSameID(t *testing.T) {
	server := unavailable(t, 2, fake.Good())
	if _, err := connect(t, server, quick).Verify(t.Context(), ust); err != nil {
		t.Fatal(err)
	}
	calls := server.Calls()
	if len(calls) != 3 {
		t.Fatalf("%d attempts", len(calls))
	}
	if calls[0].First("x-correlation-id") != calls[2].First("x-correlation-id") {
		t.Error("the attempts have different correlation IDs")
	}
}

func TestAReadIsNotTriedForEverAndTheErrorIsThatOfTheServer(t *testing.T) {
	server := unavailable(t, 99, nil)
	_, err := connect(t, server, quick).Verify(t.Context(), ust)
	if got := len(server.Calls()); got != 3 {
		t.Errorf("%d attempts", got)
	}
	if !errors.Is(err, lanyard.ErrStoreUnavailable) || err.Error() != "lanyard: refused (STORE_UNAVAILABLE, correlation ID server-id)" {
		t.Error(err)
	}
}

func TestAWriteIsNeverTriedAgain(t *testing.T) {
	server := unavailable(t, 1, &lanyardv1.CreateSessionResponse{})
	if _, err := connect(t, server, quick).LogIn(t.Context(), "alice", "password"); !errors.Is(err, lanyard.ErrStoreUnavailable) {
		t.Error(err)
	}
	if got := len(server.Calls()); got != 1 {
		t.Errorf("%d attempts", got)
	}
}

func TestNothingIsTriedAgainWhereNobodyWantsIt(t *testing.T) {
	server := unavailable(t, 1, fake.Good())
	if _, err := connect(t, server, lanyard.WithRetry(lanyard.NeverRetry)).Verify(t.Context(), ust); err == nil {
		t.Error("it was tried again")
	}
}

func TestADelayThatTheServerAsksForIsKept(t *testing.T) {
	const delay = 100 * time.Millisecond // a hundred times the backoff
	var arrivals []time.Time
	server := fake.Start(t, func(ctx context.Context, _ fake.Call) (proto.Message, error) {
		arrivals = append(arrivals, time.Now())
		if len(arrivals) == 1 {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", strconv.FormatInt(delay.Milliseconds(), 10)))
			return nil, fake.Refusal(codes.Unavailable, "OVERLOADED", "server-id")
		}
		return fake.Good(), nil
	})
	if _, err := connect(t, server, quick).Verify(t.Context(), ust); err != nil {
		t.Fatal(err)
	}
	if len(arrivals) != 2 || arrivals[1].Sub(arrivals[0]) < delay {
		t.Errorf("%v", arrivals)
	}
}

func TestAServerThatIsDownIsNotBuried(t *testing.T) {
	server := unavailable(t, 99, nil)
	client := connect(t, server, quick)
	for range 10 {
		if _, err := client.Verify(t.Context(), ust); err == nil {
			t.Fatal("it answered")
		}
	}
	// Each failed attempt costs: three of the first call, two of the second, and then half of the budget is used up.
	if got := len(server.Calls()); got != 3+2+8 {
		t.Errorf("%d attempts", got)
	}
}

func TestAConnectionThatNobodyTakesIsUnavailable(t *testing.T) {
	client, err := lanyard.NewClient("http://127.0.0.1:1", quick)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Verify(t.Context(), ust)
	var failure *lanyard.Error
	if !errors.As(err, &failure) || failure.Code != codes.Unavailable {
		t.Error(err)
	}
}

func TestAReadOfAnyServiceIsTriedAgain(t *testing.T) {
	server := unavailable(t, 2, &lanyardv1.GetCurrentUserResponse{User: &lanyardv1.User{Username: "alice"}})
	user, err := connect(t, server, quick).OnBehalfOf(ust).CurrentUser(t.Context())
	if err != nil || user.GetUsername() != "alice" {
		t.Errorf("%v, %v", user, err)
	}
}

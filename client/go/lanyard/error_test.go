package lanyard_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// refused is the error of a call that was answered so.
func refused(t *testing.T, answer error) *lanyard.Error {
	t.Helper()
	ctx := lanyard.WithCorrelationID(t.Context(), "sent-id")
	_, err := connect(t, answering(t, nil, answer), lanyard.WithRetry(lanyard.NeverRetry)).Verify(ctx, ust)
	var failure *lanyard.Error
	if !errors.As(err, &failure) {
		t.Fatalf("%T: %v", err, err)
	}
	return failure
}

func TestEverythingThatARefusalSaysIsDecoded(t *testing.T) {
	violation := &errdetails.BadRequest_FieldViolation{Field: "user.username", Description: "must not be empty"}
	err := refused(t, fake.Refusal(codes.InvalidArgument, "INVALID_FIELD", "server-id",
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{violation}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(250 * time.Millisecond)},
	))
	if err.Reason != lanyardv1.ErrorReason_ERROR_REASON_INVALID_FIELD || !errors.Is(err, lanyard.ErrInvalidField) {
		t.Errorf("reason: %v", err.Reason)
	}
	if errors.Is(err, lanyard.ErrSessionInvalid) {
		t.Error("it is another reason, too")
	}
	if err.Code != codes.InvalidArgument || status.Code(err) != codes.InvalidArgument {
		t.Errorf("code: %v", err.Code)
	}
	if err.RetryAfter != 250*time.Millisecond {
		t.Errorf("retry after: %v", err.RetryAfter)
	}
	if wanted := "lanyard: refused (INVALID_FIELD, user.username: must not be empty, correlation ID server-id)"; err.Error() != wanted {
		t.Error(err)
	}
}

func TestAReasonOfAnotherDomainOrOfTheFutureIsUnspecified(t *testing.T) {
	ofAProxy, _ := status.New(codes.Unauthenticated, "no").WithDetails(
		&errdetails.ErrorInfo{Reason: "LOGIN_FAILED", Domain: "proxy.example"})
	ofTheFuture := fake.Refusal(codes.Unauthenticated, "FROM_THE_FUTURE", "server-id")
	for _, answer := range []error{ofAProxy.Err(), ofTheFuture} {
		if err := refused(t, answer); err.Reason != lanyardv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			t.Errorf("%v", err)
		}
	}
}

func TestAStatusWithoutDetailsKeepsItsCodeAndTheIDThatWasSent(t *testing.T) {
	err := refused(t, status.Error(codes.Unavailable, ""))
	if err.Error() != "lanyard: the call failed (Unavailable, correlation ID sent-id)" {
		t.Error(err)
	}
}

func TestAnIDThatIsNoneIsNeverRepeated(t *testing.T) {
	if err := refused(t, fake.Refusal(codes.Internal, "INTERNAL", "bad\nid")); err.CorrelationID != "sent-id" {
		t.Errorf("%q", err.CorrelationID)
	}
}

func TestEachReasonOfTheContractIsAnErrorToCompareWith(t *testing.T) {
	// Three of them; that none is missing, the generator sees to.
	for reason, sentinel := range map[string]error{
		"SESSION_INVALID":  lanyard.ErrSessionInvalid,
		"LOGIN_THROTTLED":  lanyard.ErrLoginThrottled,
		"KEYS_UNAVAILABLE": lanyard.ErrKeysUnavailable,
	} {
		if err := refused(t, fake.Refusal(codes.Aborted, reason, "id")); !errors.Is(err, sentinel) {
			t.Errorf("%v is not %v", err, sentinel)
		}
		if sentinel.Error() != "lanyard: "+reason {
			t.Error(sentinel)
		}
	}
}

package lanyard

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

const (
	errorDomain  = "lanyard"
	reasonPrefix = "ERROR_REASON_"
)

// Error says why a call failed. Decide by its reason, errors.Is(err, [ErrSessionInvalid]); where that is unspecified (the
// connection failed, something between here and the server answered, or the server is newer than this client), by its code.
type Error struct {
	// Reason is one of the contract's list.
	Reason lanyardv1.ErrorReason
	// Code is the gRPC status code.
	Code codes.Code
	// Message is for people; it may change at any time.
	Message string
	// CorrelationID finds the call in logs, traces and the audit trail.
	CorrelationID string
	// FieldViolations says which fields were refused, and why.
	FieldViolations []FieldViolation
	// RetryAfter is how long the server asks to wait before trying again; 0: it does not ask.
	RetryAfter time.Duration

	status *status.Status
}

// FieldViolation says why a field of the request was refused.
type FieldViolation struct {
	// Field is its path in the request: `user.username`.
	Field string
	// Description says what is wrong with it.
	Description string
}

// newError makes an Error of what a call returned.
func newError(err error, sentID string) *Error {
	answer := statusOf(err)
	e := &Error{Code: answer.Code(), Message: answer.Message(), CorrelationID: sentID, status: answer}
	for _, detail := range answer.Details() {
		e.take(detail)
	}
	if e.Code == codes.DeadlineExceeded {
		e.Reason = lanyardv1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED
	}
	return e
}

// statusOf finds what the server said; gRPC wraps it when all attempts are used up.
func statusOf(err error) *status.Status {
	var inner interface{ GRPCStatus() *status.Status }
	if errors.As(err, &inner) {
		return inner.GRPCStatus()
	}
	return status.FromContextError(err)
}

func (e *Error) take(detail any) {
	switch detail := detail.(type) {
	case *errdetails.ErrorInfo:
		// Only what Lanyard itself says is a reason of Lanyard; a proxy may send an ErrorInfo of its own.
		if detail.GetDomain() == errorDomain {
			e.Reason = lanyardv1.ErrorReason(lanyardv1.ErrorReason_value[reasonPrefix+detail.GetReason()])
		}
	case *errdetails.RequestInfo:
		if IsCorrelationID(detail.GetRequestId()) {
			e.CorrelationID = detail.GetRequestId()
		}
	case *errdetails.RetryInfo:
		e.RetryAfter = detail.GetRetryDelay().AsDuration()
	case *errdetails.BadRequest:
		for _, violation := range detail.GetFieldViolations() {
			e.FieldViolations = append(e.FieldViolations, FieldViolation{violation.GetField(), violation.GetDescription()})
		}
	}
}

// incompleteAnswer is the error of a server that answered OK and yet not what the contract says.
func incompleteAnswer(missing, sentID string) *Error {
	return newError(status.Error(codes.Internal, "the answer has no "+missing), sentID)
}

// Error is the message with the reason and the correlation ID:
// `lanyard: the session is not good (SESSION_INVALID, correlation ID 0198f3...)`.
func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString("lanyard: ")
	if e.Message != "" {
		text.WriteString(e.Message)
	} else {
		text.WriteString("the call failed")
	}
	text.WriteString(" (")
	if e.Reason != lanyardv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		text.WriteString(reasonName(e.Reason))
	} else {
		text.WriteString(e.Code.String())
	}
	for _, violation := range e.FieldViolations {
		text.WriteString(", " + violation.Field + ": " + violation.Description)
	}
	text.WriteString(", correlation ID " + e.CorrelationID + ")")
	return text.String()
}

// Is compares with a reason: errors.Is(err, [ErrSessionInvalid]).
func (e *Error) Is(target error) bool {
	reason, ok := target.(reasonError)
	return ok && lanyardv1.ErrorReason(reason) == e.Reason
}

// Unwrap lets errors.Is find context.DeadlineExceeded and context.Canceled.
func (e *Error) Unwrap() error {
	switch e.Code {
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Canceled:
		return context.Canceled
	default:
		return nil
	}
}

// GRPCStatus is the status as it came; status.Code(err) works with it. A gRPC service that returns this error from a
// handler passes Lanyard's refusal on as its own: mostly not what its callers should see.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// reasonError is a reason to compare with.
type reasonError lanyardv1.ErrorReason

func (r reasonError) Error() string { return "lanyard: " + reasonName(lanyardv1.ErrorReason(r)) }

func reasonName(reason lanyardv1.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), reasonPrefix)
}

func isEndOfStream(err error) bool { return errors.Is(err, io.EOF) }

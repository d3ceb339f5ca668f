package lanyard_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

func TestAGoodTokenGivesItsSessionAndHowLongToRememberIt(t *testing.T) {
	answer := fake.Good()
	answer.CacheFor = durationpb.New(3 * time.Second)
	session, err := verifying(t, answer, nil).Verify(t.Context(), ust)
	if err != nil {
		t.Fatal(err)
	}
	if session.Username != "alice" || session.CacheFor != 3*time.Second || session.IsSuperUser() {
		t.Errorf("%v", session)
	}
}

func TestASuperUserIsKnownByTheRole(t *testing.T) {
	answer := fake.Good()
	answer.GetSession().Roles = []lanyardv1.Role{lanyardv1.Role_ROLE_SUPER_USER}
	session, err := verifying(t, answer, nil).Peek(t.Context(), ust)
	if err != nil || !session.IsSuperUser() {
		t.Errorf("%v, %v", session, err)
	}
}

func TestWhateverIsNotAGoodSessionGivesNoneAndAnError(t *testing.T) {
	ofTheFuture := &lanyardv1.InactiveSession{Reason: 999, RevokeReason: 999}
	ofNobody := &lanyardv1.VerifySessionResponse_Session{Session: &lanyardv1.VerifiedSession{Username: "alice"}}
	for name, check := range map[string]struct {
		answer *lanyardv1.VerifySessionResponse
		reason lanyardv1.InactiveReason
	}{
		"revoked":     {fake.Revoked(), lanyardv1.InactiveReason_INACTIVE_REASON_REVOKED},
		"no verdict":  {&lanyardv1.VerifySessionResponse{}, lanyardv1.InactiveReason_INACTIVE_REASON_UNSPECIFIED},
		"of nobody":   {&lanyardv1.VerifySessionResponse{Verdict: ofNobody}, lanyardv1.InactiveReason_INACTIVE_REASON_UNSPECIFIED},
		"of tomorrow": {&lanyardv1.VerifySessionResponse{Verdict: &lanyardv1.VerifySessionResponse_Inactive{Inactive: ofTheFuture}}, lanyardv1.InactiveReason_INACTIVE_REASON_UNSPECIFIED},
	} {
		session, err := verifying(t, check.answer, nil).Verify(t.Context(), ust)
		var inactive *lanyard.InactiveError
		if session != nil || !errors.Is(err, lanyard.ErrInactive) || !errors.As(err, &inactive) || inactive.Reason != check.reason {
			t.Errorf("%s: %v, %v", name, session, err)
		}
	}
}

func TestAnInactiveSessionSaysWhyItEndedAndInWhichCall(t *testing.T) {
	ctx := lanyard.WithCorrelationID(t.Context(), "order-4711")
	_, err := verifying(t, fake.Revoked(), nil).Verify(ctx, ust)
	if got := err.Error(); got != "lanyard: the session is not active (REVOKED: USER_LOCKED, correlation ID order-4711)" {
		t.Error(got)
	}
}

func TestAServerThatCannotAnswerSaysNothingAboutTheToken(t *testing.T) {
	client := connect(t, answering(t, nil, status.Error(codes.Internal, "no")))
	session, err := client.Verify(t.Context(), ust)
	if session != nil || err == nil || errors.Is(err, lanyard.ErrInactive) {
		t.Errorf("%v, %v", session, err)
	}
}

func TestTheZeroVerdictIsNotGood(t *testing.T) {
	session, err := lanyard.Verdict{}.Session()
	if session != nil || !errors.Is(err, lanyard.ErrInactive) {
		t.Errorf("%v, %v", session, err)
	}
	if session := (&lanyard.Session{}); session.IsSuperUser() {
		t.Error("the zero session is a super-user's")
	}
}

func TestABatchHasOneVerdictForEachTokenInOrder(t *testing.T) {
	verdicts := []*lanyardv1.VerifySessionResponse{fake.Good(), fake.Revoked()}
	server := answering(t, &lanyardv1.BatchVerifySessionsResponse{Verdicts: verdicts}, nil)
	client := connect(t, server)
	came, err := client.BatchVerify(t.Context(), ust, lanyard.NewUST("other"))
	if err != nil {
		t.Fatal(err)
	}
	if session, err := came[0].Session(); err != nil || session.Username != "alice" {
		t.Errorf("%v, %v", session, err)
	}
	if session, err := came[1].Session(); session != nil || !errors.Is(err, lanyard.ErrInactive) {
		t.Errorf("%v, %v", session, err)
	}
	if _, err := client.BatchPeek(t.Context(), ust); err == nil {
		t.Error("two verdicts were taken for one token")
	}
	if peek := server.Last(t).Request.(*lanyardv1.BatchVerifySessionsRequest).GetPeek(); !peek {
		t.Error("peek counts as activity")
	}
}

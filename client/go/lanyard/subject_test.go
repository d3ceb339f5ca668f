package lanyard_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

func TestAStubOfASubjectSignsARequestAndLeavesThatOfTheCallerAsItIs(t *testing.T) {
	server := answering(t, &lanyardv1.LockUserResponse{}, nil)
	subject := connect(t, server, lanyard.WithCurrentApp("CRM")).OnBehalfOf(ust)
	request := &lanyardv1.LockUserRequest{UserId: "usr_2"}
	if _, err := subject.Users().LockUser(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	wanted := &lanyardv1.LockUserRequest{
		Ust: secretToken, UserId: "usr_2", Client: &lanyardv1.ClientInfo{CurrentApp: "CRM"},
	}
	if sent := server.Last(t).Request; !proto.Equal(sent, wanted) {
		t.Errorf("%v", sent)
	}
	if request.GetUst() != "" || request.GetClient() != nil {
		t.Error("the request of the caller was changed")
	}
}

func TestATokenInQuestionIsNeverReplacedByTheGoodOneOfASubject(t *testing.T) {
	server := answering(t, fake.Revoked(), nil)
	stub := connect(t, server).OnBehalfOf(ust).Sessions()
	for _, token := range []string{"", "other"} {
		if _, err := stub.VerifySession(t.Context(), &lanyardv1.VerifySessionRequest{Ust: token}); err != nil {
			t.Fatal(err)
		}
		if sent := server.Last(t).Request.(*lanyardv1.VerifySessionRequest).GetUst(); sent != token {
			t.Errorf("%q became %q", token, sent)
		}
	}
}

func TestALoginGivesATokenOrAnError(t *testing.T) {
	session := &lanyardv1.UserSession{SessionId: "ses_1"}
	client := connect(t, answering(t, &lanyardv1.CreateSessionResponse{Ust: secretToken, Session: session}, nil))
	login, err := client.LogIn(t.Context(), "alice", "password")
	if err != nil || login.UST.Expose() != secretToken || login.Session.GetSessionId() != "ses_1" {
		t.Errorf("%v, %v", login, err)
	}
	for _, answer := range []*lanyardv1.CreateSessionResponse{{}, {Session: session}, {Ust: secretToken}} {
		client := connect(t, answering(t, answer, nil))
		if login, err := client.LogInJWT(t.Context(), "token"); login != nil || err == nil {
			t.Errorf("%v, %v", login, err)
		}
	}
}

func TestARotatedSessionHasANewTokenOrAnError(t *testing.T) {
	grace := timestamppb.New(time.Unix(1_800_000_000, 0))
	answer := &lanyardv1.RenewSessionResponse{Session: &lanyardv1.UserSession{}, Ust: "lyu1_new", GraceTime: grace}
	renewal, err := connect(t, answering(t, answer, nil)).OnBehalfOf(ust).Rotate(t.Context())
	if err != nil || renewal.UST.Expose() != "lyu1_new" || !renewal.GraceTime.Equal(grace.AsTime()) {
		t.Errorf("%v, %v", renewal, err)
	}
	subject := connect(t, answering(t, &lanyardv1.RenewSessionResponse{Session: &lanyardv1.UserSession{}}, nil)).OnBehalfOf(ust)
	if _, err := subject.Rotate(t.Context()); err == nil {
		t.Error("a rotation without a new token succeeded")
	}
	if renewal, err := subject.Renew(t.Context()); err != nil || !renewal.UST.IsZero() || !renewal.GraceTime.IsZero() {
		t.Errorf("%v, %v", renewal, err)
	}
}

func TestALookUpHasOneAnswerForEachDefinition(t *testing.T) {
	users := []*lanyardv1.LinkedUser{{UserId: "usr_1"}, {}}
	client := connect(t, answering(t, &lanyardv1.LookupLinkedAuthResponse{Users: users}, nil))
	came, err := client.LookupLinkedAuth(t.Context(), &lanyardv1.DefinitionRef{}, &lanyardv1.DefinitionRef{})
	if err != nil || came[0].GetUserId() != "usr_1" || came[1] != nil {
		t.Errorf("%v, %v", came, err)
	}
	if _, err := client.LookupLinkedAuth(t.Context(), &lanyardv1.DefinitionRef{}); err == nil {
		t.Error("two answers were taken for one definition")
	}
}

// paged answers three pages of two links each.
func paged(t *testing.T) *fake.Server {
	return fake.Start(t, func(_ context.Context, call fake.Call) (proto.Message, error) {
		page, _ := strconv.Atoi(call.Request.(*lanyardv1.ListLinkedAuthRequest).GetPageToken())
		answer := &lanyardv1.ListLinkedAuthResponse{}
		for i := range 2 {
			answer.Links = append(answer.Links, &lanyardv1.LinkedAuth{LinkId: fmt.Sprint("lnk_", 2*page+i)})
		}
		if page < 2 {
			answer.NextPageToken = strconv.Itoa(page + 1)
		}
		return answer, nil
	})
}

func TestAListGoesThroughAllPagesInOneCorrelationIDAndAsOftenAsWanted(t *testing.T) {
	server := paged(t)
	request := &lanyardv1.ListLinkedAuthRequest{UserId: "usr_1"}
	links := connect(t, server).OnBehalfOf(ust).ListLinkedAuth(t.Context(), request)
	for range 2 {
		var ids []string
		for link, err := range links {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, link.GetLinkId())
		}
		if got := fmt.Sprint(ids); got != "[lnk_0 lnk_1 lnk_2 lnk_3 lnk_4 lnk_5]" {
			t.Error(got)
		}
	}
	calls := server.Calls()
	if len(calls) != 6 || calls[0].First("x-correlation-id") != calls[2].First("x-correlation-id") {
		t.Errorf("%d calls", len(calls))
	}
	last := calls[5].Request.(*lanyardv1.ListLinkedAuthRequest)
	if last.GetUserId() != "usr_1" || last.GetUst() != secretToken {
		t.Errorf("a later page asks for something else: %v", last)
	}
	if request.GetPageToken() != "" {
		t.Error("the request of the caller was changed")
	}
}

func TestALoopThatEndsEarlyAsksForNoMorePages(t *testing.T) {
	server := paged(t)
	for range connect(t, server).OnBehalfOf(ust).ListLinkedAuth(t.Context(), nil) {
		break
	}
	if got := len(server.Calls()); got != 1 {
		t.Errorf("%d calls", got)
	}
}

func TestAnErrorEndsAList(t *testing.T) {
	refusal := fake.Refusal(codes.Unauthenticated, "SESSION_INVALID", "id")
	subject := connect(t, answering(t, nil, refusal)).OnBehalfOf(ust)
	turns := 0
	for link, err := range subject.ListLinkedAuth(t.Context(), nil) {
		turns++
		if link != nil || !errors.Is(err, lanyard.ErrSessionInvalid) {
			t.Errorf("%v, %v", link, err)
		}
	}
	if turns != 1 {
		t.Errorf("%d turns", turns)
	}
	if links, err := subject.GetLinkedAuthList(t.Context(), ""); links != nil || !errors.Is(err, lanyard.ErrSessionInvalid) {
		t.Errorf("%v, %v", links, err)
	}
}

func TestTheWholeListOfLinksIsAskedForInLargePages(t *testing.T) {
	server := paged(t)
	links, err := connect(t, server).OnBehalfOf(ust).GetLinkedAuthList(t.Context(), "usr_1")
	if err != nil || len(links) != 6 {
		t.Errorf("%v, %v", links, err)
	}
	if size := server.Last(t).Request.(*lanyardv1.ListLinkedAuthRequest).GetPageSize(); size < 200 {
		t.Errorf("page_size %d", size)
	}
}

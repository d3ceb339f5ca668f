package lanyard

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// Subject is a user on whose behalf the service acts: a [Client] and the user's token; make one with
// [Client.OnBehalfOf]. It is cheap.
//
// The generated stubs of its methods ([Subject.Users], ...) fill in `ust` and `client` of every request. With
// VerifySession, whose `ust` is a question and no proof, they leave it.
type Subject struct {
	client *Client
	ust    UST
}

// Renewal is a session with more time.
type Renewal struct {
	// Session is the session.
	Session *lanyardv1.UserSession
	// UST is the new token, if there is one: hand it to the user in the place of the old one.
	UST UST
	// GraceTime is until when the old token keeps working; only with a new one.
	GraceTime time.Time
}

// OnBehalfOf is the client on behalf of the user whose token this is.
func (c *Client) OnBehalfOf(ust UST) *Subject { return &Subject{client: c, ust: ust} }

// Sessions is the generated stub of SessionService on behalf of the user.
func (s *Subject) Sessions() lanyardv1.SessionServiceClient {
	return lanyardv1.NewSessionServiceClient(signed{s})
}

// LinkedAuth is the generated stub of LinkedAuthService on behalf of the user.
func (s *Subject) LinkedAuth() lanyardv1.LinkedAuthServiceClient {
	return lanyardv1.NewLinkedAuthServiceClient(signed{s})
}

// Users is the generated stub of UserService on behalf of the user.
func (s *Subject) Users() lanyardv1.UserServiceClient {
	return lanyardv1.NewUserServiceClient(signed{s})
}

// Attributes is the generated stub of AttributeService on behalf of the user.
func (s *Subject) Attributes() lanyardv1.AttributeServiceClient {
	return lanyardv1.NewAttributeServiceClient(signed{s})
}

// Definitions is the generated stub of DefinitionService on behalf of the user.
func (s *Subject) Definitions() lanyardv1.DefinitionServiceClient {
	return lanyardv1.NewDefinitionServiceClient(signed{s})
}

// Audit is the generated stub of AuditService on behalf of the user.
func (s *Subject) Audit() lanyardv1.AuditServiceClient {
	return lanyardv1.NewAuditServiceClient(signed{s})
}

// CurrentSession returns the own session, whole.
func (s *Subject) CurrentSession(ctx context.Context) (*lanyardv1.UserSession, error) {
	return s.GetSession(ctx, "")
}

// GetSession returns a session by its ID; another's needs a super-user.
func (s *Subject) GetSession(ctx context.Context, sessionID string) (*lanyardv1.UserSession, error) {
	ctx, id := withOwnCorrelationID(ctx)
	answer, err := s.Sessions().GetSession(ctx, &lanyardv1.GetSessionRequest{SessionId: sessionID})
	if err != nil {
		return nil, err
	}
	if answer.GetSession() == nil {
		return nil, incompleteAnswer("session", id)
	}
	return answer.GetSession(), nil
}

// CurrentUser returns the acting user.
func (s *Subject) CurrentUser(ctx context.Context) (*lanyardv1.User, error) {
	ctx, id := withOwnCorrelationID(ctx)
	answer, err := s.Users().GetCurrentUser(ctx, &lanyardv1.GetCurrentUserRequest{})
	if err != nil {
		return nil, err
	}
	if answer.GetUser() == nil {
		return nil, incompleteAnswer("user", id)
	}
	return answer.GetUser(), nil
}

// Renew gives the own session more time. If its token had been replaced already, the new one comes along.
func (s *Subject) Renew(ctx context.Context) (*Renewal, error) { return s.renew(ctx, false) }

// Rotate gives the own session more time and a new token. The old one keeps working for a short grace.
func (s *Subject) Rotate(ctx context.Context) (*Renewal, error) { return s.renew(ctx, true) }

func (s *Subject) renew(ctx context.Context, rotate bool) (*Renewal, error) {
	ctx, id := withOwnCorrelationID(ctx)
	answer, err := s.Sessions().RenewSession(ctx, &lanyardv1.RenewSessionRequest{Rotate: rotate})
	if err != nil {
		return nil, err
	}
	if answer.GetSession() == nil || rotate && answer.GetUst() == "" {
		return nil, incompleteAnswer("session or new token", id)
	}
	renewal := &Renewal{Session: answer.GetSession()}
	if answer.GetUst() != "" {
		renewal.UST = NewUST(answer.GetUst())
	}
	if answer.GetGraceTime() != nil {
		renewal.GraceTime = answer.GetGraceTime().AsTime()
	}
	return renewal, nil
}

// LogOut ends the own session, and tells whether it was live.
func (s *Subject) LogOut(ctx context.Context) (bool, error) { return s.RevokeSession(ctx, "") }

// RevokeSession ends a session by its ID, and tells whether it was live; another's needs a super-user.
func (s *Subject) RevokeSession(ctx context.Context, sessionID string) (bool, error) {
	answer, err := s.Sessions().RevokeSession(ctx, &lanyardv1.RevokeSessionRequest{SessionId: sessionID})
	return answer.GetRevoked(), err
}

// LogOutElsewhere ends all own sessions but this one, and returns how many were live.
func (s *Subject) LogOutElsewhere(ctx context.Context) (uint64, error) {
	answer, err := s.Sessions().RevokeSessions(ctx, &lanyardv1.RevokeSessionsRequest{KeepCurrent: true})
	return answer.GetRevokedCount(), err
}

// GetLinkedAuthList returns the accounts that are linked to a user, oldest first, all of them (Zato SSO's
// `get_linked_auth_list`). Without a user ID: the own ones. Another's need a super-user.
func (s *Subject) GetLinkedAuthList(ctx context.Context, userID string) ([]*lanyardv1.LinkedAuth, error) {
	var links []*lanyardv1.LinkedAuth
	request := &lanyardv1.ListLinkedAuthRequest{UserId: userID, PageSize: math.MaxInt32}
	for link, err := range s.ListLinkedAuth(ctx, request) {
		if err != nil {
			return nil, err
		}
		links = append(links, link)
	}
	return links, nil
}

// Format names the subject without the token.
func (s Subject) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "Subject{", s.ust, "}") }

// Format prints the renewal without its token.
func (r Renewal) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "Renewal{Session: %v, UST: %v, GraceTime: %v}", r.Session, r.UST, r.GraceTime)
}

// signed is the connection of a subject's stubs.
type signed struct{ subject *Subject }

func (s signed) Invoke(ctx context.Context, method string, request, answer any, options ...grpc.CallOption) error {
	if message, ok := request.(proto.Message); ok {
		request = withUST(message, s.subject.ust)
	}
	return s.subject.client.Invoke(ctx, method, request, answer, options...)
}

func (s signed) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	inner, err := s.subject.client.NewStream(ctx, desc, method, options...)
	if err != nil {
		return nil, err
	}
	return &signedStream{inner, s.subject}, nil
}

type signedStream struct {
	grpc.ClientStream
	subject *Subject
}

func (s *signedStream) SendMsg(request any) error {
	if message, ok := request.(proto.Message); ok {
		request = withUST(message, s.subject.ust)
	}
	return s.ClientStream.SendMsg(request)
}

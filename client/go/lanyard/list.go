package lanyard

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

const pageTokenField protoreflect.Name = "page_token"

// ListSessions lists sessions, newest first: the own ones or, for super-users, those of a user or of everybody. As with all
// lists, a page is asked for whenever the one before is used up, the pages of one loop share a correlation ID, an
// error ends the loop, and the request may be nil.
func (s *Subject) ListSessions(
	ctx context.Context, request *lanyardv1.ListSessionsRequest,
) iter.Seq2[*lanyardv1.UserSession, error] {
	return list(ctx, request, s.Sessions().ListSessions, (*lanyardv1.ListSessionsResponse).GetSessions)
}

// ListLinkedAuth lists the accounts that are linked to a user, oldest first: the own ones, or those of `user_id` to
// super-users.
func (s *Subject) ListLinkedAuth(
	ctx context.Context, request *lanyardv1.ListLinkedAuthRequest,
) iter.Seq2[*lanyardv1.LinkedAuth, error] {
	return list(ctx, request, s.LinkedAuth().ListLinkedAuth, (*lanyardv1.ListLinkedAuthResponse).GetLinks)
}

// ListUsers lists users in the order of their creation. Super-users only.
func (s *Subject) ListUsers(
	ctx context.Context, request *lanyardv1.ListUsersRequest,
) iter.Seq2[*lanyardv1.User, error] {
	return list(ctx, request, s.Users().ListUsers, (*lanyardv1.ListUsersResponse).GetUsers)
}

// ListAttributes lists attributes that have not expired, in the order of their names.
func (s *Subject) ListAttributes(
	ctx context.Context, request *lanyardv1.ListAttributesRequest,
) iter.Seq2[*lanyardv1.Attribute, error] {
	return list(ctx, request, s.Attributes().ListAttributes, (*lanyardv1.ListAttributesResponse).GetAttributes)
}

// ListDefinitions lists definitions in the order of their numbers. Super-users only.
func (s *Subject) ListDefinitions(
	ctx context.Context, request *lanyardv1.ListDefinitionsRequest,
) iter.Seq2[*lanyardv1.Definition, error] {
	return list(ctx, request, s.Definitions().ListDefinitions, (*lanyardv1.ListDefinitionsResponse).GetDefinitions)
}

// ListAuditEvents lists audit events, newest first. Super-users only.
func (s *Subject) ListAuditEvents(
	ctx context.Context, request *lanyardv1.ListAuditEventsRequest,
) iter.Seq2[*lanyardv1.AuditEvent, error] {
	return list(ctx, request, s.Audit().ListAuditEvents, (*lanyardv1.ListAuditEventsResponse).GetEvents)
}

// list is the items of all pages. Each loop over it begins anew.
func list[Request proto.Message, Answer interface{ GetNextPageToken() string }, Item any](
	ctx context.Context,
	request Request,
	call func(context.Context, Request, ...grpc.CallOption) (Answer, error),
	items func(Answer) []Item,
) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		ctx, _ := withOwnCorrelationID(ctx)
		page := request
		for {
			answer, err := call(ctx, page)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			for _, item := range items(answer) {
				if !yield(item, nil) {
					return
				}
			}
			if answer.GetNextPageToken() == "" {
				return
			}
			page = withPageToken(request, answer.GetNextPageToken())
		}
	}
}

func withPageToken[Request proto.Message](request Request, token string) Request {
	message := request.ProtoReflect()
	field := message.Descriptor().Fields().ByName(pageTokenField)
	return with(message, field, protoreflect.ValueOfString(token)).(Request)
}

package lanyard

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// Login is a login that succeeded.
type Login struct {
	// UST is the token. That of a login with a password cannot be shown again.
	UST UST
	// Session is the new session, or the live one of the same external credential.
	Session *lanyardv1.UserSession
	// Warnings are what the user should know: the password expires soon, ...
	Warnings []*lanyardv1.Warning
}

// Verify asks whether a token is good, and counts this as the user's activity. The session comes without an error and only
// so. A token that is not good is an [InactiveError]: log in again. Any other error says nothing about the token: the
// server could not be asked.
func (c *Client) Verify(ctx context.Context, ust UST) (*Session, error) {
	return c.verify(ctx, ust, false)
}

// Peek asks whether a token is good, as [Client.Verify] does, and does not count this as the user's activity.
func (c *Client) Peek(ctx context.Context, ust UST) (*Session, error) {
	return c.verify(ctx, ust, true)
}

func (c *Client) verify(ctx context.Context, ust UST, peek bool) (*Session, error) {
	ctx, id := withOwnCorrelationID(ctx)
	request := &lanyardv1.VerifySessionRequest{Ust: ust.Expose(), Client: c.clientInfo(ctx), Peek: peek}
	answer, err := c.Sessions().VerifySession(ctx, request)
	if err != nil {
		return nil, err
	}
	return newVerdict(answer, id).Session()
}

// BatchVerify asks about up to 500 tokens at once: one verdict each, in the same order. It counts as the users' activity.
func (c *Client) BatchVerify(ctx context.Context, usts ...UST) ([]Verdict, error) {
	return c.batchVerify(ctx, usts, false)
}

// BatchPeek is [Client.BatchVerify], but not counted as the users' activity.
func (c *Client) BatchPeek(ctx context.Context, usts ...UST) ([]Verdict, error) {
	return c.batchVerify(ctx, usts, true)
}

func (c *Client) batchVerify(ctx context.Context, usts []UST, peek bool) ([]Verdict, error) {
	ctx, id := withOwnCorrelationID(ctx)
	request := &lanyardv1.BatchVerifySessionsRequest{Client: c.clientInfo(ctx), Peek: peek}
	for _, ust := range usts {
		request.Sessions = append(request.Sessions, &lanyardv1.SessionToVerify{Ust: ust.Expose()})
	}
	answer, err := c.Sessions().BatchVerifySessions(ctx, request)
	if err != nil {
		return nil, err
	}
	// A verdict that is one place off is somebody else's.
	if len(answer.GetVerdicts()) != len(usts) {
		return nil, incompleteAnswer("verdict for each token", id)
	}
	verdicts := make([]Verdict, len(usts))
	for i, verdict := range answer.GetVerdicts() {
		verdicts[i] = newVerdict(verdict, id)
	}
	return verdicts, nil
}

// LogIn logs a user in with username and password. For a code or a new password see [Client.CreateSession].
func (c *Client) LogIn(ctx context.Context, username, password string) (*Login, error) {
	credential := &lanyardv1.PasswordCredential{Username: username, Password: password}
	return c.CreateSession(ctx, &lanyardv1.CreateSessionRequest{
		Credential: &lanyardv1.CreateSessionRequest_Password{Password: credential},
	})
}

// LogInBasicAuth logs in the user that a basic-auth definition is linked to, into the live session of that definition or a
// new one.
func (c *Client) LogInBasicAuth(ctx context.Context, username, secret string) (*Login, error) {
	credential := &lanyardv1.BasicAuthCredential{Username: username, Secret: secret}
	return c.CreateSession(ctx, &lanyardv1.CreateSessionRequest{
		Credential: &lanyardv1.CreateSessionRequest_BasicAuth{BasicAuth: credential},
	})
}

// LogInJWT logs in the user that the definition of a JWT is linked to, into the live session of that token or a new one. For
// a code see [Client.CreateSession].
func (c *Client) LogInJWT(ctx context.Context, token string) (*Login, error) {
	credential := &lanyardv1.JwtCredential{Token: token}
	return c.CreateSession(ctx, &lanyardv1.CreateSessionRequest{
		Credential: &lanyardv1.CreateSessionRequest_Jwt{Jwt: credential},
	})
}

// CreateSession logs a user in with any credential of the contract.
func (c *Client) CreateSession(ctx context.Context, request *lanyardv1.CreateSessionRequest) (*Login, error) {
	ctx, id := withOwnCorrelationID(ctx)
	answer, err := c.Sessions().CreateSession(ctx, request)
	if err != nil {
		return nil, err
	}
	if answer.GetUst() == "" || answer.GetSession() == nil {
		return nil, incompleteAnswer("session or token", id)
	}
	return &Login{UST: NewUST(answer.GetUst()), Session: answer.GetSession(), Warnings: answer.GetWarnings()}, nil
}

// LookupLinkedAuth tells whom up to 500 definitions are linked to: one answer each, in the same order; nil: there is no such
// definition, or it is linked to nobody. The service needs a grant of its own.
func (c *Client) LookupLinkedAuth(
	ctx context.Context, definitions ...*lanyardv1.DefinitionRef,
) ([]*lanyardv1.LinkedUser, error) {
	ctx, id := withOwnCorrelationID(ctx)
	answer, err := c.LinkedAuth().LookupLinkedAuth(ctx, &lanyardv1.LookupLinkedAuthRequest{Definitions: definitions})
	if err != nil {
		return nil, err
	}
	users := answer.GetUsers()
	// An answer that is one place off is of somebody else.
	if len(users) != len(definitions) {
		return nil, incompleteAnswer("answer for each definition", id)
	}
	for i, user := range users {
		if user.GetUserId() == "" {
			users[i] = nil
		}
	}
	return users, nil
}

// Format prints the login without its token.
func (l Login) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "Login{UST: %v, Session: %v, Warnings: %v}", l.UST, l.Session, l.Warnings)
}

// known is the value of an enum, or the unspecified one in the place of a number that this client does not know.
func known[E protoreflect.Enum](value E) E {
	if value.Descriptor().Values().ByNumber(value.Number()) != nil {
		return value
	}
	var unspecified E
	return unspecified
}

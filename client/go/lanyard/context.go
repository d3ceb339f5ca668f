package lanyard

import (
	"context"

	"github.com/google/uuid"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// CorrelationIDHeader is the name of the correlation ID in the headers of HTTP and the metadata of gRPC.
const CorrelationIDHeader = "x-correlation-id"

const longestCorrelationID = 128

type (
	correlationIDKey struct{}
	clientInfoKey    struct{}
	subjectKey       struct{}
	sessionKey       struct{}
)

// WithCorrelationID gives all calls made with the context this correlation ID: the business ID of a request, carried
// through every service, log line, span, error and audit row. What is no such ID ([IsCorrelationID]) may be anything and
// must not reach a log: a new one takes its place, as it does for the server.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	if !IsCorrelationID(id) {
		id = NewCorrelationID()
	}
	return context.WithValue(ctx, correlationIDKey{}, id)
}

// CorrelationIDFrom returns the correlation ID of the context, or "" if it has none.
func CorrelationIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(correlationIDKey{}).(string)
	return id
}

// NewCorrelationID makes a new one, a UUIDv7.
func NewCorrelationID() string {
	id, err := uuid.NewV7()
	if err != nil {
		// crypto/rand ends the program before it returns an error; uuid does not know that.
		panic(err)
	}
	return id.String()
}

// IsCorrelationID tells whether a text may be a correlation ID: 1 to 128 of letters, digits, `.`, `_`, `:` and `-`.
func IsCorrelationID(id string) bool {
	if id == "" || len(id) > longestCorrelationID {
		return false
	}
	for i := range len(id) {
		if !isOfCorrelationID(id[i]) {
			return false
		}
	}
	return true
}

func isOfCorrelationID(char byte) bool {
	switch {
	case 'a' <= char && char <= 'z', 'A' <= char && char <= 'Z', '0' <= char && char <= '9':
		return true
	default:
		return char == '.' || char == '_' || char == ':' || char == '-'
	}
}

// withOwnCorrelationID gives the context a correlation ID if it has none.
func withOwnCorrelationID(ctx context.Context) (context.Context, string) {
	if id := CorrelationIDFrom(ctx); id != "" {
		return ctx, id
	}
	id := NewCorrelationID()
	return context.WithValue(ctx, correlationIDKey{}, id), id
}

// WithClientInfo says for all calls made with the context where the *user* is. Where `current_app` is empty, that of the
// client counts ([WithCurrentApp]). The info must not be changed afterwards.
func WithClientInfo(ctx context.Context, info *lanyardv1.ClientInfo) context.Context {
	return context.WithValue(ctx, clientInfoKey{}, info)
}

// ClientInfoFrom returns what [WithClientInfo] said, or nil.
func ClientInfoFrom(ctx context.Context) *lanyardv1.ClientInfo {
	info, _ := ctx.Value(clientInfoKey{}).(*lanyardv1.ClientInfo)
	return info
}

// WithSession puts a verified session into a context, and the subject whose it is. The middleware does it; your tests may.
func WithSession(ctx context.Context, session *Session, subject *Subject) context.Context {
	ctx = context.WithValue(ctx, sessionKey{}, session)
	return context.WithValue(ctx, subjectKey{}, subject)
}

// SessionFrom returns the session that the middleware found good. Without the middleware there is none.
func SessionFrom(ctx context.Context) (*Session, bool) {
	session, _ := ctx.Value(sessionKey{}).(*Session)
	return session, session != nil
}

// SubjectFrom returns the user whose session the middleware found good, to act on their behalf.
func SubjectFrom(ctx context.Context) (*Subject, bool) {
	subject, _ := ctx.Value(subjectKey{}).(*Subject)
	return subject, subject != nil
}

package lanyard

import (
	"errors"
	"strings"
	"time"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// ErrInactive is what every [InactiveError] is: errors.Is(err, lanyard.ErrInactive).
var ErrInactive = errors.New("lanyard: the session is not active")

// Session is a good session, with the fields of the contract. There is one only where there is no error.
type Session struct {
	*lanyardv1.VerifiedSession
	// CacheFor is how long the verdict may be used again without asking; 0: not at all.
	CacheFor time.Duration
}

// IsSuperUser tells whether the user may act on everybody's behalf.
func (s *Session) IsSuperUser() bool {
	for _, role := range s.GetRoles() {
		if role == lanyardv1.Role_ROLE_SUPER_USER {
			return true
		}
	}
	return false
}

// InactiveError says why a token is not good. It is for the calling service, not for the end user.
type InactiveError struct {
	// Reason is unspecified where the server gave none that this client knows.
	Reason lanyardv1.InactiveReason
	// RevokeReason says why it was revoked, with INACTIVE_REASON_REVOKED.
	RevokeReason lanyardv1.RevokeReason
	// CorrelationID finds the call in logs and traces.
	CorrelationID string
}

// Error is the reason with the correlation ID:
// `lanyard: the session is not active (REVOKED: USER_LOCKED, correlation ID 0198f3...)`.
func (e *InactiveError) Error() string {
	var text strings.Builder
	text.WriteString(ErrInactive.Error())
	text.WriteString(" (" + strings.TrimPrefix(e.Reason.String(), "INACTIVE_REASON_"))
	if e.RevokeReason != lanyardv1.RevokeReason_REVOKE_REASON_UNSPECIFIED {
		text.WriteString(": " + strings.TrimPrefix(e.RevokeReason.String(), "REVOKE_REASON_"))
	}
	text.WriteString(", correlation ID " + e.CorrelationID + ")")
	return text.String()
}

// Is makes it an [ErrInactive].
func (e *InactiveError) Is(target error) bool { return target == ErrInactive }

// Verdict is the answer about one token of many. The zero value is not good.
type Verdict struct {
	session  *Session
	inactive InactiveError
}

// Session returns the session of a good token; for any other it returns an [InactiveError] and no session.
func (v Verdict) Session() (*Session, error) {
	if v.session == nil {
		return nil, &v.inactive
	}
	return v.session, nil
}

// newVerdict reads an answer. One with neither case is inactive: a server newer than this client may know a third. So is a
// session of nobody.
func newVerdict(answer *lanyardv1.VerifySessionResponse, correlationID string) Verdict {
	if session := answer.GetSession(); session.GetSessionId() != "" && session.GetUserId() != "" {
		return Verdict{session: &Session{session, answer.GetCacheFor().AsDuration()}}
	}
	inactive := answer.GetInactive()
	return Verdict{inactive: InactiveError{
		Reason:        known(inactive.GetReason()),
		RevokeReason:  known(inactive.GetRevokeReason()),
		CorrelationID: correlationID,
	}}
}

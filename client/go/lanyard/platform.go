package lanyard

import (
	"context"
	"fmt"
	"time"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// PlatformAuth is the credential with which the platform of a session is called, and what there is to know for it.
type PlatformAuth struct {
	// MicetroURL is the base URL of the platform. The credential is for calls to it, and for nothing else.
	MicetroURL string
	// Platform is its name.
	Platform string
	// Scheme says what kind of credential it is.
	Scheme lanyardv1.PlatformAuthScheme
	// ValidFor is how long the credential may be used before it is asked for again. Asking again is how a service learns that
	// the session was revoked.
	ValidFor time.Duration
	// Settings say how the platform is to be called.
	Settings *lanyardv1.PlatformSettings

	// A pointer for the same reason as in [UST].
	micetroAuth *string
}

// MicetroAuth is the whole value of the header `Authorization` for calls to MicetroURL. Never to be stored, logged or passed
// on.
func (a *PlatformAuth) MicetroAuth() string {
	if a == nil || a.micetroAuth == nil {
		return ""
	}
	return *a.micetroAuth
}

// Format prints what it is for, without the credential.
func (a PlatformAuth) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "PlatformAuth{Platform: %s, MicetroURL: %s, Scheme: %v, ValidFor: %v}",
		a.Platform, a.MicetroURL, a.Scheme, a.ValidFor)
}

// LogInPlatform logs in the user who has this name on a platform, with the password there. For a code or a unique name see
// [Client.CreateSession].
func (c *Client) LogInPlatform(ctx context.Context, platform, username, password string) (*Login, error) {
	credential := &lanyardv1.PlatformCredential{Platform: platform, Username: username, Password: password}
	return c.CreateSession(ctx, &lanyardv1.CreateSessionRequest{
		Credential: &lanyardv1.CreateSessionRequest_Platform{Platform: credential},
	})
}

// GetPlatformAuth hands out the credential of the platform that the session is logged in to. The service needs a grant of
// its own, and each time is written to the audit trail.
func (s *Subject) GetPlatformAuth(ctx context.Context) (*PlatformAuth, error) {
	return s.platformAuth(ctx, false)
}

// ReplacePlatformAuth is [Subject.GetPlatformAuth] for a service whose call the platform answered with 401: the platform is
// asked, and there is a credential that it accepts, or the session has ended ([ErrSessionInvalid]).
func (s *Subject) ReplacePlatformAuth(ctx context.Context) (*PlatformAuth, error) {
	return s.platformAuth(ctx, true)
}

func (s *Subject) platformAuth(ctx context.Context, refused bool) (*PlatformAuth, error) {
	ctx, id := withOwnCorrelationID(ctx)
	answer, err := s.Sessions().GetPlatformAuth(ctx, &lanyardv1.GetPlatformAuthRequest{Refused: refused})
	if err != nil {
		return nil, err
	}
	if answer.GetMicetroAuth() == "" || answer.GetMicetroUrl() == "" {
		return nil, incompleteAnswer("credential or URL of the platform", id)
	}
	value := answer.GetMicetroAuth()
	return &PlatformAuth{
		MicetroURL:  answer.GetMicetroUrl(),
		Platform:    answer.GetPlatform(),
		Scheme:      answer.GetScheme(),
		ValidFor:    answer.GetValidFor().AsDuration(),
		Settings:    answer.GetSettings(),
		micetroAuth: &value,
	}, nil
}

// Package guard is what the middleware of all protocols does: it finds out whose session a request is in.
package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// Admit returns the context of a user whose token is good: with the session, the subject and where the user is. With any
// error nobody may come in. The context holds the correlation ID already.
func Admit(
	ctx context.Context, client *lanyard.Client, ust lanyard.UST, info *lanyardv1.ClientInfo,
) (context.Context, error) {
	if ust.IsZero() {
		return nil, &lanyard.InactiveError{
			Reason:        lanyardv1.InactiveReason_INACTIVE_REASON_MALFORMED,
			CorrelationID: lanyard.CorrelationIDFrom(ctx),
		}
	}
	ctx = lanyard.WithClientInfo(ctx, info)
	session, err := client.Verify(ctx, ust)
	if err != nil {
		return nil, err
	}
	return lanyard.WithSession(ctx, session, client.OnBehalfOf(ust)), nil
}

// Bearer takes the token out of the value of an `authorization` header.
func Bearer(authorization string) lanyard.UST {
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return lanyard.UST{}
	}
	return lanyard.NewUST(token)
}

// ClientInfo says where the user is, as the connection has it. Lanyard refuses text that is no address, and a Unix socket
// has none.
func ClientInfo(peer, userAgent string) *lanyardv1.ClientInfo {
	host, _, err := net.SplitHostPort(peer)
	if err != nil {
		host = peer
	}
	info := &lanyardv1.ClientInfo{UserAgent: userAgent}
	if address, err := netip.ParseAddr(host); err == nil {
		info.RemoteAddr = address.String()
	}
	return info
}

// Refusal is why somebody does not come in.
type Refusal int

const (
	// Unauthenticated: there is no good session. The user may log in.
	Unauthenticated Refusal = iota
	// Unavailable: Lanyard cannot answer now.
	Unavailable
	// Faulty: Lanyard refuses this service itself, or fails.
	Faulty
)

// Judge tells what an error of [Admit] means for who asked, and how long they should wait.
func Judge(err error) (Refusal, time.Duration) {
	if errors.Is(err, lanyard.ErrInactive) {
		return Unauthenticated, 0
	}
	var failure *lanyard.Error
	if !errors.As(err, &failure) {
		return Faulty, 0
	}
	switch failure.Code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Canceled:
		return Unavailable, failure.RetryAfter
	default:
		return Faulty, 0
	}
}

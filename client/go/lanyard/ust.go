package lanyard

import (
	"fmt"
	"log/slog"

	"github.com/lanyard/lanyard/client/go/internal/redact"
)

// UST is a user session token: whoever holds it *is* the user. It cannot be printed, logged or marshalled; [UST.Expose]
// gives it away.
//
// The zero value is no token, and no token is never good.
type UST struct {
	// A pointer, because fmt does not ask a type how to print it where it stands in an unexported field of another.
	token *string
}

// NewUST takes any text for a token; whether it is a good one, [Client.Verify] says.
func NewUST(token string) UST {
	return UST{token: &token}
}

// Expose returns the token itself, to hand it to its user. Not for logs, addresses or listings.
func (u UST) Expose() string {
	if u.token == nil {
		return ""
	}
	return *u.token
}

// IsZero tells whether there is no token at all.
func (u UST) IsZero() bool { return u.Expose() == "" }

// Format prints that it is a token, whatever the verb.
func (UST) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, redact.Placeholder) }

// String says that it is a token.
func (UST) String() string { return redact.Placeholder }

// LogValue says that it is a token.
func (UST) LogValue() slog.Value { return slog.StringValue(redact.Placeholder) }

// MarshalText says that it is a token: to put it into an answer to its user, use [UST.Expose].
func (UST) MarshalText() ([]byte, error) { return []byte(redact.Placeholder), nil }

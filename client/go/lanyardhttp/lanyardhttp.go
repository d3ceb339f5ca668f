// Package lanyardhttp protects a service of net/http:
//
//	protect := lanyardhttp.Protect(client)
//	mux.Handle("GET /orders", protect(http.HandlerFunc(orders)))
//
//	func orders(w http.ResponseWriter, r *http.Request) {
//		session, _ := lanyard.SessionFrom(r.Context()) // always there behind Protect
//		fmt.Fprintln(w, "hello,", session.Username)
//	}
package lanyardhttp

import (
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/lanyard/lanyard/client/go/internal/guard"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// Option changes what [Protect] does.
type Option func(*protector)

type protector struct {
	client  *lanyard.Client
	token   func(*http.Request) lanyard.UST
	info    func(*http.Request) *lanyardv1.ClientInfo
	refusal func(http.ResponseWriter, *http.Request, error)
}

// Protect returns middleware that lets only requests with a good session through.
//
// The handler finds in the context of its request the session ([lanyard.SessionFrom]), the user, to act on their behalf
// ([lanyard.SubjectFrom]), and the correlation ID ([lanyard.CorrelationIDFrom]), which is that of the header
// `x-correlation-id`, else a new one, and is in the answer too. Calls of Lanyard with that context say where the user is.
//
// Without a good session the answer is 401, and 503 if Lanyard cannot say: never does anything else let somebody in.
func Protect(client *lanyard.Client, options ...Option) func(http.Handler) http.Handler {
	p := &protector{client: client, token: Bearer, info: clientInfo, refusal: Refuse}
	for _, option := range options {
		option(p)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, next) })
	}
}

// WithToken says where in a request the token is. Default: [Bearer].
func WithToken(token func(*http.Request) lanyard.UST) Option {
	return func(p *protector) { p.token = token }
}

// WithClientInfo says where the user of a request is. Default: the address of the connection and the header `user-agent`.
// Behind a proxy, take the address from the header that *your* proxy writes, and from no other.
func WithClientInfo(info func(*http.Request) *lanyardv1.ClientInfo) Option {
	return func(p *protector) { p.info = info }
}

// WithRefusal answers requests that are not let through. Default: [Refuse].
func WithRefusal(refusal func(http.ResponseWriter, *http.Request, error)) Option {
	return func(p *protector) { p.refusal = refusal }
}

// Bearer takes the token from `authorization: Bearer <token>`.
func Bearer(r *http.Request) lanyard.UST { return guard.Bearer(r.Header.Get("Authorization")) }

// Cookie takes the token from a cookie.
func Cookie(name string) func(*http.Request) lanyard.UST {
	return func(r *http.Request) lanyard.UST {
		cookie, err := r.Cookie(name)
		if err != nil {
			return lanyard.UST{}
		}
		return lanyard.NewUST(cookie.Value)
	}
}

func clientInfo(r *http.Request) *lanyardv1.ClientInfo {
	return guard.ClientInfo(r.RemoteAddr, r.UserAgent())
}

func (p *protector) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	ctx := lanyard.WithCorrelationID(r.Context(), r.Header.Get(lanyard.CorrelationIDHeader))
	w.Header().Set(lanyard.CorrelationIDHeader, lanyard.CorrelationIDFrom(ctx))
	admitted, err := guard.Admit(ctx, p.client, p.token(r), p.info(r))
	if err != nil {
		p.refusal(w, r.WithContext(ctx), err)
		return
	}
	next.ServeHTTP(w, r.WithContext(admitted))
}

// Refuse answers a request whose user is not let in: 401, or 503 or 500 if Lanyard could not say, which it logs. It tells
// the correlation ID, and nothing of the reason.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	switch refusal, wait := guard.Judge(err); refusal {
	case guard.Unauthenticated:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "Bearer")
	case guard.Unavailable:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(max(wait.Seconds(), 1)))))
	case guard.Faulty:
	}
	if status != http.StatusUnauthorized {
		slog.ErrorContext(r.Context(), "the session could not be verified", "error", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{http.StatusText(status), status, lanyard.CorrelationIDFrom(r.Context())})
}

// problem is the body of a refusal (RFC 9457).
type problem struct {
	Title         string `json:"title"`
	Status        int    `json:"status"`
	CorrelationID string `json:"correlation_id"`
}

// Transport sends requests with the correlation ID of their context, so that the next service has it too. Without a base
// it is [http.DefaultTransport].
func Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return transport{base}
}

type transport struct{ base http.RoundTripper }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if id := lanyard.CorrelationIDFrom(r.Context()); id != "" {
		r = r.Clone(r.Context())
		r.Header.Set(lanyard.CorrelationIDHeader, id)
	}
	return t.base.RoundTrip(r)
}

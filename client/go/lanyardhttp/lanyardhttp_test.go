package lanyardhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
	"github.com/lanyard/lanyard/client/go/lanyardhttp"
)

// protected is a service that greets whoever comes in, and the Lanyard that it asks.
func protected(
	t *testing.T, answer proto.Message, refusal error, options ...lanyardhttp.Option,
) (*httptest.Server, *fake.Server) {
	t.Helper()
	server := fake.Start(t, func(context.Context, fake.Call) (proto.Message, error) { return answer, refusal })
	client, err := lanyard.NewClient("http://"+server.Address, lanyard.WithRetry(lanyard.NeverRetry))
	if err != nil {
		t.Fatal(err)
	}
	greet := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, isIn := lanyard.SessionFrom(r.Context())
		_, hasSubject := lanyard.SubjectFrom(r.Context())
		_, _ = fmt.Fprintf(w, "%s %t %t %s", session.GetUsername(), isIn, hasSubject, lanyard.CorrelationIDFrom(r.Context()))
	})
	service := httptest.NewServer(lanyardhttp.Protect(client, options...)(greet))
	t.Cleanup(func() { service.Close(); _ = client.Close() })
	return service, server
}

func get(t *testing.T, service *httptest.Server, headers map[string]string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, service.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

var withToken = map[string]string{
	"Authorization": "Bearer lyu1_token", "X-Correlation-ID": "order-4711", "User-Agent": "browser",
}

func TestARequestWithAGoodTokenComesInWithSessionAndSubject(t *testing.T) {
	service, asked := protected(t, fake.Good(), nil)
	answer, body := get(t, service, withToken)
	if answer.StatusCode != http.StatusOK || body != "alice true true order-4711" {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	if got := answer.Header.Get("X-Correlation-ID"); got != "order-4711" {
		t.Errorf("correlation ID of the answer: %q", got)
	}
	call := asked.Last(t)
	sent := call.Request.(*lanyardv1.VerifySessionRequest)
	wanted := &lanyardv1.VerifySessionRequest{
		Ust: "lyu1_token", Client: &lanyardv1.ClientInfo{RemoteAddr: "127.0.0.1", UserAgent: "browser"},
	}
	if !proto.Equal(sent, wanted) || call.First("x-correlation-id") != "order-4711" {
		t.Errorf("%v", sent)
	}
}

func TestNobodyComesInWithoutAGoodSession(t *testing.T) {
	wait := &errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)}
	for name, check := range map[string]struct {
		answer  proto.Message
		refusal error
		headers map[string]string
		status  int
	}{
		"no token":            {fake.Good(), nil, nil, http.StatusUnauthorized},
		"another scheme":      {fake.Good(), nil, map[string]string{"Authorization": "Basic lyu1_token"}, http.StatusUnauthorized},
		"no token in scheme":  {fake.Good(), nil, map[string]string{"Authorization": "Bearer "}, http.StatusUnauthorized},
		"ended session":       {fake.Revoked(), nil, withToken, http.StatusUnauthorized},
		"no verdict":          {&lanyardv1.VerifySessionResponse{}, nil, withToken, http.StatusUnauthorized},
		"database is down":    {nil, fake.Refusal(codes.Unavailable, "STORE_UNAVAILABLE", "id", wait), withToken, http.StatusServiceUnavailable},
		"too many calls":      {nil, fake.Refusal(codes.ResourceExhausted, "CALLER_LIMITED", "id", wait), withToken, http.StatusServiceUnavailable},
		"the service's fault": {nil, fake.Refusal(codes.Unauthenticated, "CALLER_UNAUTHENTICATED", "id"), withToken, http.StatusInternalServerError},
		"a fault of Lanyard":  {nil, fake.Refusal(codes.Internal, "INTERNAL", "id"), withToken, http.StatusInternalServerError},
	} {
		service, _ := protected(t, check.answer, check.refusal)
		answer, body := get(t, service, check.headers)
		if answer.StatusCode != check.status {
			t.Errorf("%s: %d %s", name, answer.StatusCode, body)
		}
		if id := answer.Header.Get("X-Correlation-ID"); id == "" || !strings.Contains(body, id) {
			t.Errorf("%s: the answer does not tell its correlation ID %q: %s", name, id, body)
		}
		isAsking := answer.Header.Get("WWW-Authenticate") == "Bearer"
		if isAsking != (check.status == http.StatusUnauthorized) {
			t.Errorf("%s: WWW-Authenticate", name)
		}
		if check.refusal != nil && check.status == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != "2" {
			t.Errorf("%s: Retry-After: %q", name, answer.Header.Get("Retry-After"))
		}
	}
}

func TestTokenPlaceAndRefusalAreAsTheServiceWants(t *testing.T) {
	teapot := func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusTeapot) }
	here := func(*http.Request) *lanyardv1.ClientInfo { return &lanyardv1.ClientInfo{RemoteAddr: "192.0.2.7"} }
	service, asked := protected(t, fake.Good(), nil,
		lanyardhttp.WithToken(lanyardhttp.Cookie("session")), lanyardhttp.WithRefusal(teapot), lanyardhttp.WithClientInfo(here))
	if answer, _ := get(t, service, withToken); answer.StatusCode != http.StatusTeapot {
		t.Errorf("%d", answer.StatusCode)
	}
	if answer, body := get(t, service, map[string]string{"Cookie": "session=lyu1_cookie"}); answer.StatusCode != http.StatusOK {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	sent := asked.Last(t).Request.(*lanyardv1.VerifySessionRequest)
	if sent.GetUst() != "lyu1_cookie" || sent.GetClient().GetRemoteAddr() != "192.0.2.7" {
		t.Errorf("%v", sent)
	}
}

func TestTheNextServiceGetsTheCorrelationID(t *testing.T) {
	next := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Header.Get("X-Correlation-ID"))
	}))
	t.Cleanup(next.Close)
	ctx := lanyard.WithCorrelationID(t.Context(), "order-4711")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, next.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: lanyardhttp.Transport(nil)}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, _ := io.ReadAll(answer.Body); string(body) != "order-4711" {
		t.Errorf("%s", body)
	}
	if request.Header.Get("X-Correlation-ID") != "" {
		t.Error("the request of the caller was changed")
	}
}

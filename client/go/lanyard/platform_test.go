package lanyard_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

func TestTheCredentialOfAPlatformIsHandedOutAndNotPrinted(t *testing.T) {
	answer := &lanyardv1.GetPlatformAuthResponse{
		MicetroAuth: "Bearer hunter2", MicetroUrl: "https://micetro.example", Platform: "main", ValidFor: durationpb.New(time.Minute),
	}
	server := answering(t, answer, nil)
	subject := connect(t, server).OnBehalfOf(ust)
	auth, err := subject.GetPlatformAuth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if auth.MicetroAuth() != "Bearer hunter2" || auth.MicetroURL != "https://micetro.example" || auth.ValidFor != time.Minute {
		t.Errorf("%v", auth)
	}
	checkSecrecy(t, "PlatformAuth", auth)
	checkSecrecy(t, "PlatformAuth in a struct", struct{ auth lanyard.PlatformAuth }{*auth})
	checkSecrecy(t, "answer", answer)

	sent := func() *lanyardv1.GetPlatformAuthRequest {
		return server.Last(t).Request.(*lanyardv1.GetPlatformAuthRequest)
	}
	if sent().GetUst() != secretToken || sent().GetRefused() {
		t.Errorf("%v", sent())
	}
	if _, err := subject.ReplacePlatformAuth(t.Context()); err != nil || !sent().GetRefused() {
		t.Errorf("%v, %v", sent(), err)
	}
}

func TestWithoutACredentialThereIsAnError(t *testing.T) {
	for _, answer := range []*lanyardv1.GetPlatformAuthResponse{{}, {MicetroAuth: "x"}, {MicetroUrl: "x"}} {
		auth, err := connect(t, answering(t, answer, nil)).OnBehalfOf(ust).GetPlatformAuth(t.Context())
		if auth != nil || err == nil || auth.MicetroAuth() != "" {
			t.Errorf("%v, %v", auth, err)
		}
	}
	refusal := fake.Refusal(codes.FailedPrecondition, "PLATFORM_SESSION_REQUIRED", "id")
	_, err := connect(t, answering(t, nil, refusal)).OnBehalfOf(ust).GetPlatformAuth(t.Context())
	if !errors.Is(err, lanyard.ErrPlatformSessionRequired) {
		t.Error(err)
	}
}

func TestALoginToAPlatformSaysWhich(t *testing.T) {
	server := answering(t, &lanyardv1.CreateSessionResponse{Ust: secretToken, Session: &lanyardv1.UserSession{}}, nil)
	if _, err := connect(t, server).LogInPlatform(t.Context(), "main", "alice", "password"); err != nil {
		t.Fatal(err)
	}
	credential := server.Last(t).Request.(*lanyardv1.CreateSessionRequest).GetPlatform()
	if credential.GetPlatform() != "main" || credential.GetUsername() != "alice" || credential.GetPassword() != "password" {
		t.Error("the credential is not the one that was given")
	}
}

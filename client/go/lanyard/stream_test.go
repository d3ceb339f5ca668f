package lanyard

import (
	"testing"

	"google.golang.org/grpc"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// sink is the stream below: it keeps what is sent.
type sink struct {
	grpc.ClientStream
	sent any
}

func (s *sink) SendMsg(message any) error {
	s.sent = message
	return nil
}

func TestWhatASubjectSendsOverAStreamIsSigned(t *testing.T) {
	below := &sink{}
	signed := &signedStream{below, (&Client{}).OnBehalfOf(NewUST("lyu1_token"))}
	request := &lanyardv1.GetSessionRequest{SessionId: "ses_1"}
	if err := signed.SendMsg(request); err != nil {
		t.Fatal(err)
	}
	sent := below.sent.(*lanyardv1.GetSessionRequest)
	if sent.GetUst() != "lyu1_token" || sent.GetSessionId() != "ses_1" || request.GetUst() != "" {
		t.Errorf("%v", sent)
	}
}

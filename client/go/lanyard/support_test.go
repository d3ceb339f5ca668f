package lanyard_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

const secretToken = "lyu1_hunter2"

var ust = lanyard.NewUST(secretToken)

// answering starts a server that always answers so.
func answering(t *testing.T, answer proto.Message, err error) *fake.Server {
	return fake.Start(t, func(context.Context, fake.Call) (proto.Message, error) { return answer, err })
}

func connect(t *testing.T, server *fake.Server, options ...lanyard.Option) *lanyard.Client {
	t.Helper()
	client, err := lanyard.NewClient("http://"+server.Address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// verifying is a client of a server that gives this verdict.
func verifying(t *testing.T, verdict *lanyardv1.VerifySessionResponse, err error) *lanyard.Client {
	return connect(t, answering(t, verdict, err))
}

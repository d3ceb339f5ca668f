// Command bench measures what the client costs over the bare generated stub, for each call of VerifySession, on a server
// that it starts. It prints one line of JSON.
//
//	LANYARD_BIN=target/release/lanyard go run ./internal/bench
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

const (
	rounds        = 60
	callsPerRound = 200
)

// result is the line that is printed. Times are the medians of the rounds, the overhead is the median of their quotients:
// each round measures both, one right after the other, and what disturbs one mostly disturbs the other.
type result struct {
	Language     string  `json:"language"`
	Bench        string  `json:"bench"`
	Calls        int     `json:"calls"`
	BareMicros   float64 `json:"bare_micros"`
	ClientMicros float64 `json:"client_micros"`
	Overhead     float64 `json:"overhead"`
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "lanyard-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	server, credentials, err := startServer(ctx, folder)
	if err != nil {
		return err
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	}()
	measured, err := measure(ctx, credentials)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(measured)
}

// credentials is what a server that is tried out says of itself.
type credentials struct {
	Endpoint  string `json:"endpoint"`
	CallerKey string `json:"caller_key"`
	Demo      struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"demo_user"`
}

func startServer(ctx context.Context, folder string) (*exec.Cmd, *credentials, error) {
	program := os.Getenv("LANYARD_BIN")
	if program == "" {
		return nil, nil, errors.New("LANYARD_BIN must name the program lanyard")
	}
	server := exec.CommandContext(ctx, program, "serve", "--dev", "--data-dir", folder)
	server.Env = append(os.Environ(), "LANYARD__SERVER__LISTEN=127.0.0.1:0")
	if err := server.Start(); err != nil {
		return nil, nil, err
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(folder, "credentials.json"))
		if err != nil {
			continue // not yet
		}
		said := &credentials{}
		if json.Unmarshal(text, said) == nil {
			return server, said, nil
		}
	}
	_ = server.Process.Kill()
	return nil, nil, errors.New("the server does not start")
}

func measure(ctx context.Context, said *credentials) (*result, error) {
	client, err := lanyard.NewClient(said.Endpoint, lanyard.WithAPIKey(said.CallerKey), lanyard.WithTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	login, err := client.LogIn(ctx, said.Demo.Username, said.Demo.Password)
	if err != nil {
		return nil, err
	}
	bare, closeBare, err := bareCall(ctx, said, login.UST)
	if err != nil {
		return nil, err
	}
	defer closeBare()
	layered := func() error {
		_, err := client.Verify(ctx, login.UST)
		return err
	}

	var bareTimes, clientTimes, quotients []float64
	for round := range rounds + 2 {
		ofBare, ofClient, err := pair(bare, layered, round%2 == 0)
		if err != nil {
			return nil, err
		}
		if round < 2 {
			continue // to get warm
		}
		bareTimes = append(bareTimes, ofBare)
		clientTimes = append(clientTimes, ofClient)
		quotients = append(quotients, ofClient/ofBare)
	}
	return &result{
		Language: "go", Bench: "verify", Calls: rounds * callsPerRound,
		BareMicros: median(bareTimes), ClientMicros: median(clientTimes), Overhead: median(quotients),
	}, nil
}

// bareCall calls the stub as one writes it without a client: with the key, and nothing else.
func bareCall(ctx context.Context, said *credentials, ust lanyard.UST) (call func() error, end func(), err error) {
	target := said.Endpoint[len("http://"):]
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	stub := lanyardv1.NewSessionServiceClient(conn)
	call = func() error {
		ctx := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+said.CallerKey)
		answer, err := stub.VerifySession(ctx, &lanyardv1.VerifySessionRequest{Ust: ust.Expose()})
		if err == nil && answer.GetSession() == nil {
			return errors.New("the session is not good")
		}
		return err
	}
	return call, func() { _ = conn.Close() }, nil
}

// pair measures both, in one order or the other: microseconds for each call.
func pair(bare, layered func() error, bareFirst bool) (ofBare, ofClient float64, err error) {
	if bareFirst {
		ofBare, err = perCall(bare)
	}
	if err == nil {
		ofClient, err = perCall(layered)
	}
	if err == nil && !bareFirst {
		ofBare, err = perCall(bare)
	}
	return ofBare, ofClient, err
}

func perCall(call func() error) (float64, error) {
	start := time.Now()
	for range callsPerRound {
		if err := call(); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Microseconds()) / callsPerRound, nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

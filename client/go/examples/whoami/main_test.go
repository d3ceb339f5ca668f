package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/lanyard/lanyard/client/go/lanyard"
	"github.com/lanyard/lanyard/client/go/lanyardotel"
)

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

type credentials struct {
	Endpoint  string `json:"endpoint"`
	CallerKey string `json:"caller_key"`
	Demo      struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"demo_user"`
}

// startLanyard starts the server that LANYARD_BIN names.
func startLanyard(t *testing.T) credentials {
	t.Helper()
	program := os.Getenv("LANYARD_BIN")
	if program == "" {
		t.Fatal("LANYARD_BIN must name the program lanyard (cargo build -p lanyard-server)")
	}
	folder := t.TempDir()
	server := exec.Command(program, "serve", "--dev", "--data-dir", folder)
	server.Env = append(os.Environ(), "LANYARD__SERVER__LISTEN=127.0.0.1:0")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Signal(syscall.SIGTERM); _ = server.Wait() })
	var said credentials
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(folder, "credentials.json"))
		if err == nil && json.Unmarshal(text, &said) == nil {
			return said
		}
	}
	t.Fatal("the server does not start")
	return said
}

func TestOneCorrelationIDAndOneTraceGoThroughAChainOfServices(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	otel.SetTextMapPropagator(propagation.TraceContext{})

	said := startLanyard(t)
	client, err := lanyard.NewClient(said.Endpoint, lanyard.WithAPIKey(said.CallerKey), lanyardotel.WithTracing())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	login, err := client.LogIn(context.Background(), said.Demo.Username, said.Demo.Password)
	if err != nil {
		t.Fatal(err)
	}
	last := httptest.NewServer(newService(client, ""))
	defer last.Close()
	first := httptest.NewServer(newService(client, last.URL))
	defer first.Close()

	status, body := get(t, first.URL+"/whoami", login.UST.Expose())
	wanted := `{"language":"go","username":"demo","correlation_id":"order-4711","links":1,` +
		`"next":{"language":"go","username":"demo","correlation_id":"order-4711","links":1}}` + "\n"
	if status != http.StatusOK || body != wanted {
		t.Errorf("%d %s", status, body)
	}
	ofTheTrace := 0
	for _, span := range spans.Ended() {
		if span.SpanContext().TraceID().String() == traceID {
			ofTheTrace++
		}
	}
	// Each service has one of its own and two of its calls of Lanyard; the first also one of its call of the last.
	if ofTheTrace != 7 {
		t.Errorf("%d spans are of the trace", ofTheTrace)
	}

	for name, token := range map[string]string{"nobody": "", "a stranger": "lyu1_stranger"} {
		if status, body := get(t, first.URL+"/whoami", token); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestAChainThatBreaksIsNotTakenForOneThatEnds(t *testing.T) {
	said := startLanyard(t)
	client, err := lanyard.NewClient(said.Endpoint, lanyard.WithAPIKey(said.CallerKey))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	login, err := client.LogIn(context.Background(), said.Demo.Username, said.Demo.Password)
	if err != nil {
		t.Fatal(err)
	}
	broken := httptest.NewServer(newService(client, "http://127.0.0.1:1"))
	defer broken.Close()
	if status, body := get(t, broken.URL+"/whoami", login.UST.Expose()); status != http.StatusBadGateway {
		t.Errorf("%d %s", status, body)
	}
}

func get(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("X-Correlation-ID", "order-4711")
	request.Header.Set("Traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

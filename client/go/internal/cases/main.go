// Command cases tells every case of tests/cases to a real server and reports what came of each; the README there says how.
//
//	LANYARD_CASES=tests/cases LANYARD_CASE_SERVER=target/debug/case-server go run ./internal/cases
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"time"
)

// Generous: the longest case waits for a deadline of seconds.
const longestCase = time.Minute

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cases:", err)
		os.Exit(1)
	}
}

func run() error {
	cases, err := readCases(os.Getenv("LANYARD_CASES"))
	if err != nil {
		return err
	}
	server, err := startServer(os.Getenv("LANYARD_CASE_SERVER"))
	if err != nil {
		return err
	}
	defer server.stop()
	report, err := openReport(os.Getenv("LANYARD_CASES_REPORT"))
	if err != nil {
		return err
	}
	defer report.close()

	connections := &connections{}
	defer connections.close()
	for _, single := range cases {
		outcome := tell(single, server.variables, connections)
		if err := report.add(single.Name, outcome); err != nil {
			return err
		}
	}
	return report.verdict()
}

// tell runs the steps of a case, and returns why it failed.
func tell(single singleCase, shared variables, connections *connections) error {
	ctx, cancel := context.WithTimeout(context.Background(), longestCase)
	defer cancel()
	own := maps.Clone(shared)
	own["unique"] = unique()
	for number, raw := range single.Steps {
		if err := take(ctx, raw, own, connections); err != nil {
			return fmt.Errorf("step %d: %w", number+1, err)
		}
	}
	return nil
}

func take(ctx context.Context, raw any, own variables, connections *connections) error {
	step, err := parseStep(raw, own)
	if err != nil {
		return err
	}
	if step.Via == viaWire {
		return takeOnWire(ctx, step, own, connections)
	}
	return takeThroughClient(ctx, step, own)
}

func unique() string {
	bytes := make([]byte, 6)
	_, _ = rand.Read(bytes) // never fails
	return hex.EncodeToString(bytes)
}

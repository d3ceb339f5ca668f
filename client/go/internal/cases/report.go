package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// cannotRun says what the runtime cannot do at all.
type cannotRun struct{ why string }

func (c cannotRun) Error() string { return c.why }

// report tells what came of each case: to people, and to `matrix` in a file.
type report struct {
	file                   *os.File
	passed, failed, notRun int
}

type reportLine struct {
	Language string `json:"language"`
	Case     string `json:"case"`
	Result   string `json:"result"`
	Reason   string `json:"reason,omitempty"`
}

func openReport(path string) (*report, error) {
	if path == "" {
		return &report{}, nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	return &report{file: file}, err
}

func (r *report) add(name string, outcome error) error {
	line := reportLine{Language: "go", Case: name, Result: "passed"}
	var impossible cannotRun
	switch {
	case outcome == nil:
		r.passed++
		fmt.Println("passed ", name)
	case errors.As(outcome, &impossible):
		r.notRun++
		line.Result, line.Reason = "not_run", impossible.why
		fmt.Println("not run", name+":", impossible.why)
	default:
		r.failed++
		line.Result, line.Reason = "failed", outcome.Error()
		fmt.Println("FAILED ", name+":", outcome)
	}
	if r.file == nil {
		return nil
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	// In one piece: others may write to it too.
	_, err = r.file.Write(append(text, '\n'))
	return err
}

func (r *report) verdict() error {
	fmt.Printf("cases: %d passed, %d failed, %d not run\n", r.passed, r.failed, r.notRun)
	if r.failed > 0 {
		return fmt.Errorf("%d cases failed", r.failed)
	}
	return nil
}

func (r *report) close() {
	if r.file != nil {
		_ = r.file.Close()
	}
}

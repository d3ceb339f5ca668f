package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// server is a running case-server, which ends when its standard input does.
type server struct {
	variables variables
	process   *exec.Cmd
	input     io.Closer
}

func startServer(program string) (*server, error) {
	if program == "" {
		return nil, errors.New("LANYARD_CASE_SERVER must name the program case-server")
	}
	process := exec.Command(program)
	process.Stderr = os.Stderr
	input, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	started := &server{process: process, input: input}
	reader := bufio.NewReader(output)
	line, err := reader.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &started.variables)
	}
	if err != nil {
		started.stop()
		return nil, fmt.Errorf("the case server did not say its variables: %w", err)
	}
	// Whatever else it says must not make it wait.
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	return started, nil
}

func (s *server) stop() {
	_ = s.input.Close()
	_ = s.process.Wait()
}

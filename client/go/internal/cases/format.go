package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard/lanyard/client/go/lanyard"
)

const (
	viaWire       = "wire"
	viaClient     = "client"
	viaClientTLS  = "client_tls"
	viaClientMTLS = "client_mtls"
)

const defaultDeadline = 10 * time.Second

type singleCase struct {
	Name  string `yaml:"name"`
	Steps []any  `yaml:"steps"`
}

// step is one call. Raw messages tell what is absent (nil) from what is null.
type step struct {
	Call         string             `json:"call"`
	Via          string             `json:"via"`
	Endpoint     string             `json:"endpoint"`
	Metadata     map[string]*string `json:"metadata"`
	Request      json.RawMessage    `json:"request"`
	Requests     []json.RawMessage  `json:"requests"`
	RequestBytes *[]byte            `json:"request_bytes"`
	DeadlineMS   *int64             `json:"deadline_ms"`
	Expect       expectation        `json:"expect"`
	Save         map[string]string  `json:"save"`
}

type expectation struct {
	Code            string          `json:"code"`
	Reason          json.RawMessage `json:"reason"`
	FieldViolations *[]string       `json:"field_violations"`
	RetryInfo       *bool           `json:"retry_info"`
	CorrelationID   json.RawMessage `json:"correlation_id"`
	Message         any             `json:"message"`
	Messages        *[]any          `json:"messages"`
	Verified        *bool           `json:"verified"`
	Items           *int            `json:"items"`

	hasMessage bool
}

func readCases(folder string) ([]singleCase, error) {
	if folder == "" {
		return nil, errors.New("LANYARD_CASES must name the folder of the cases")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var all []singleCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		decoder.KnownFields(true)
		var some []singleCase
		if err := decoder.Decode(&some); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there are no cases in %s", folder)
	}
	return all, nil
}

// parseStep puts the variables in and reads the step; a key that it does not know is an error.
func parseStep(raw any, own variables) (*step, error) {
	filled, err := own.fill(raw)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(filled)
	if err != nil {
		return nil, err
	}
	parsed := &step{Via: viaWire}
	if err := decodeStrictly(text, parsed); err != nil {
		return nil, err
	}
	if expect, ok := filled.(map[string]any)["expect"].(map[string]any); ok {
		_, parsed.Expect.hasMessage = expect["message"]
	}
	if parsed.Expect.Code == "" {
		parsed.Expect.Code = "OK"
	}
	if parsed.Metadata == nil {
		parsed.Metadata = map[string]*string{}
	}
	if _, told := parsed.Metadata[lanyard.CorrelationIDHeader]; !told {
		id := "case-" + own["unique"]
		parsed.Metadata[lanyard.CorrelationIDHeader] = &id
	}
	return parsed, nil
}

func decodeStrictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	return decoder.Decode(into)
}

// sentID is the correlation ID of the step, or "" if none is sent.
func (s *step) sentID() string {
	if id := s.Metadata[lanyard.CorrelationIDHeader]; id != nil {
		return *id
	}
	return ""
}

func (s *step) deadline(otherwise time.Duration) time.Duration {
	if s.DeadlineMS == nil {
		return otherwise
	}
	return time.Duration(*s.DeadlineMS) * time.Millisecond
}

// text reads a field that may be absent, null or text.
func text(raw json.RawMessage) (value string, told, isNull bool) {
	if raw == nil {
		return "", false, false
	}
	if string(raw) == "null" {
		return "", true, true
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		// A number or a boolean is compared as text.
		return string(raw), true, false
	}
	return value, true, false
}

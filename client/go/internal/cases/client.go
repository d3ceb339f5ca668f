package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// given is what the layer gave; exactly one is set.
type given struct {
	verified *bool
	items    *int
	message  any
}

// clientRequest is what the three calls through a client layer need of a request.
type clientRequest struct {
	UST      string `json:"ust"`
	UserID   string `json:"user_id"`
	Password struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"password"`
}

// takeThroughClient calls through the layer, made as its page shows it.
func takeThroughClient(ctx context.Context, step *step, own variables) error {
	client, err := connect(step, own)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx = lanyard.WithCorrelationID(ctx, step.sentID())
	var request clientRequest
	if err := decodeStrictly(step.Request, &request); err != nil {
		return err
	}
	came, err := call(ctx, client, step.Call, &request)
	var unknownCall unknownCallError
	if errors.As(err, &unknownCall) {
		return err
	}
	if wanted := step.Expect.Verified; err != nil && wanted != nil && !*wanted && isNotUnderstood(err) {
		came, err = &given{verified: new(bool)}, nil
	}
	if err != nil {
		return checkError(step, err)
	}
	return checkGiven(&step.Expect, came)
}

func connect(step *step, own variables) (*lanyard.Client, error) {
	scheme, endpoint := "https://", own["tls_endpoint"]
	var options []lanyard.Option
	switch step.Via {
	case viaClient:
		scheme, endpoint = "http://", own["endpoint"]
	case viaClientTLS, viaClientMTLS:
		ca, err := os.ReadFile(own["tls_ca_file"])
		if err != nil {
			return nil, err
		}
		options = append(options, lanyard.WithCA(ca))
	default:
		return nil, fmt.Errorf("via: %q is none", step.Via)
	}
	if step.Via == viaClientMTLS {
		certificate, err := os.ReadFile(own["tls_client_cert_file"])
		if err != nil {
			return nil, err
		}
		key, err := os.ReadFile(own["tls_client_key_file"])
		if err != nil {
			return nil, err
		}
		options = append(options, lanyard.WithClientCertificate(certificate, key))
	} else {
		key := own["caller_key"]
		if authorization := step.Metadata["authorization"]; authorization != nil {
			key = strings.TrimPrefix(*authorization, "Bearer ")
		}
		options = append(options, lanyard.WithAPIKey(key))
	}
	if step.DeadlineMS != nil {
		options = append(options, lanyard.WithTimeout(step.deadline(time.Second)))
	}
	if step.Endpoint != "" {
		endpoint = step.Endpoint
	}
	return lanyard.NewClient(scheme+endpoint, options...)
}

func call(ctx context.Context, client *lanyard.Client, method string, request *clientRequest) (*given, error) {
	switch method {
	case "lanyard.v1.SessionService/VerifySession":
		_, err := client.Verify(ctx, lanyard.NewUST(request.UST))
		isGood := err == nil
		if isGood || errors.Is(err, lanyard.ErrInactive) {
			return &given{verified: &isGood}, nil
		}
		return nil, err
	case "lanyard.v1.SessionService/CreateSession":
		login, err := client.LogIn(ctx, request.Password.Username, request.Password.Password)
		if err != nil {
			return nil, err
		}
		session := map[string]any{"username": login.Session.GetUsername()}
		return &given{message: map[string]any{"session": session}}, nil
	case "lanyard.v1.LinkedAuthService/ListLinkedAuth":
		count := 0
		holder := client.OnBehalfOf(lanyard.NewUST(request.UST))
		for _, err := range holder.ListLinkedAuth(ctx, &lanyardv1.ListLinkedAuthRequest{UserId: request.UserID}) {
			if err != nil {
				return nil, err
			}
			count++
		}
		return &given{items: &count}, nil
	default:
		return nil, unknownCallError(method)
	}
}

type unknownCallError string

func (e unknownCallError) Error() string { return string(e) + " is not called through a client layer" }

// isNotUnderstood tells a failure over an answer from a refusal.
func isNotUnderstood(err error) bool {
	var failure *lanyard.Error
	return errors.As(err, &failure) && failure.Reason == lanyardv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

func checkGiven(expect *expectation, came *given) error {
	if err := matchText(expect.Code, "OK", "code"); err != nil {
		return err
	}
	switch {
	case came.verified != nil:
		if expect.Verified == nil || *expect.Verified != *came.verified {
			return fmt.Errorf("verified: is %t", *came.verified)
		}
		return nil
	case came.items != nil:
		if expect.Items == nil || *expect.Items != *came.items {
			return fmt.Errorf("items: there were %d", *came.items)
		}
		return nil
	default:
		if !expect.hasMessage {
			return fmt.Errorf("it was answered: %s", show(came.message))
		}
		return match(expect.Message, came.message, "message")
	}
}

func checkError(step *step, err error) error {
	var refusal *lanyard.Error
	if !errors.As(err, &refusal) {
		return fmt.Errorf("the error is a %T: %w", err, err)
	}
	expect := &step.Expect
	if problem := matchText(expect.Code, codeName(refusal.Code), "code"); problem != nil {
		return fmt.Errorf("%w (%w)", problem, refusal)
	}
	if reason, told, isNull := text(expect.Reason); told {
		if isNull {
			reason = "UNSPECIFIED"
		}
		found := strings.TrimPrefix(refusal.Reason.String(), "ERROR_REASON_")
		if problem := matchText(reason, found, "reason"); problem != nil {
			return problem
		}
	}
	if expect.FieldViolations != nil {
		var fields []string
		for _, violation := range refusal.FieldViolations {
			fields = append(fields, violation.Field)
		}
		if problem := checkFields(*expect.FieldViolations, fields); problem != nil {
			return problem
		}
	}
	if expect.RetryInfo != nil {
		if problem := checkRetryInfo(*expect.RetryInfo, refusal.RetryAfter > 0); problem != nil {
			return problem
		}
	}
	return checkErrorID(step, refusal)
}

func checkErrorID(step *step, refusal *lanyard.Error) error {
	wanted, told, isNull := text(step.Expect.CorrelationID)
	if isNull {
		return nil
	}
	if !told {
		wanted = step.sentID()
	}
	if problem := matchText(wanted, refusal.CorrelationID, "correlation_id"); problem != nil {
		return problem
	}
	if !strings.Contains(refusal.Error(), refusal.CorrelationID) {
		return fmt.Errorf("its text does not tell its ID: %w", refusal)
	}
	return nil
}

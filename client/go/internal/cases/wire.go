package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health/grpc_health_v1" // cases call it
	"google.golang.org/grpc/metadata"
	_ "google.golang.org/grpc/reflection/grpc_reflection_v1" // cases call it
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/lanyard/lanyard/client/go/lanyard"
)

// connections keeps a bare connection to each endpoint.
type connections struct{ open map[string]*grpc.ClientConn }

func (c *connections) to(endpoint string) (*grpc.ClientConn, error) {
	if conn, ok := c.open[endpoint]; ok {
		return conn, nil
	}
	conn, err := grpc.NewClient(
		"passthrough:///"+endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
	)
	if err != nil {
		return nil, err
	}
	if c.open == nil {
		c.open = map[string]*grpc.ClientConn{}
	}
	c.open[endpoint] = conn
	return conn, nil
}

func (c *connections) close() {
	for _, conn := range c.open {
		_ = conn.Close()
	}
}

// answer is all that came back.
type answer struct {
	messages        []any // as proto3 JSON
	header, trailer metadata.MD
	status          *status.Status
	wasCancelled    bool
}

func takeOnWire(ctx context.Context, step *step, own variables, connections *connections) error {
	if step.Expect.Verified != nil || step.Expect.Items != nil {
		return errors.New("`verified` and `items` are for client layers")
	}
	if step.Endpoint == "" {
		step.Endpoint = own["endpoint"]
	}
	conn, err := connections.to(step.Endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, outgoing(step, own)), step.deadline(defaultDeadline))
	defer cancel()
	method, err := findMethod(step.Call)
	if err != nil {
		return err
	}
	var came *answer
	if step.Requests != nil {
		came, err = stream(ctx, conn, method, step)
	} else {
		came, err = unary(ctx, conn, method, step)
	}
	if err != nil {
		return err
	}
	if err := checkAnswer(step, came); err != nil {
		return err
	}
	return save(step, came, own)
}

func outgoing(step *step, own variables) metadata.MD {
	md := metadata.Pairs("authorization", "Bearer "+own["caller_key"])
	for name, value := range step.Metadata {
		md.Delete(name)
		if value != nil {
			md.Set(name, *value)
		}
	}
	return md
}

// method is what is called; one that does not exist takes and gives nothing.
type method struct {
	path          string
	input, output protoreflect.MessageType
}

func findMethod(call string) (*method, error) {
	service, name, ok := strings.Cut(call, "/")
	if !ok {
		return nil, fmt.Errorf("%q is no call", call)
	}
	nothing := (&emptypb.Empty{}).ProtoReflect().Type()
	found := &method{path: "/" + call, input: nothing, output: nothing}
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return found, nil //nolint:nilerr // cases call what does not exist
	}
	described, ok := descriptor.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("%q is no method", call)
	}
	if found.input, err = protoregistry.GlobalTypes.FindMessageByName(described.Input().FullName()); err != nil {
		return nil, err
	}
	found.output, err = protoregistry.GlobalTypes.FindMessageByName(described.Output().FullName())
	return found, err
}

func (m *method) request(text json.RawMessage) (proto.Message, error) {
	message := m.input.New().Interface()
	if text == nil {
		return message, nil
	}
	return message, protojson.Unmarshal(text, message)
}

func unary(ctx context.Context, conn *grpc.ClientConn, method *method, step *step) (*answer, error) {
	var request any
	options := []grpc.CallOption{}
	came := &answer{}
	options = append(options, grpc.Header(&came.header), grpc.Trailer(&came.trailer))
	if step.RequestBytes != nil {
		request = rawBytes(*step.RequestBytes)
		options = append(options, grpc.ForceCodec(rawCodec{}))
	} else {
		message, err := method.request(step.Request)
		if err != nil {
			return nil, err
		}
		request = message
	}
	reply := method.output.New().Interface()
	err := conn.Invoke(ctx, method.path, request, reply, options...)
	came.status = status.Convert(err)
	if err == nil {
		shown, err := asJSON(reply)
		if err != nil {
			return nil, err
		}
		came.messages = []any{shown}
	}
	return came, nil
}

func stream(ctx context.Context, conn *grpc.ClientConn, method *method, step *step) (*answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	description := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	opened, err := conn.NewStream(ctx, description, method.path)
	if err != nil {
		return &answer{status: status.Convert(err)}, nil
	}
	for _, text := range step.Requests {
		request, err := method.request(text)
		if err != nil {
			return nil, err
		}
		if opened.SendMsg(request) != nil {
			break // RecvMsg says why
		}
	}
	if err := opened.CloseSend(); err != nil {
		return nil, err
	}
	came := &answer{}
	wanted := -1
	if step.Expect.Messages != nil && len(*step.Expect.Messages) > 0 {
		wanted = len(*step.Expect.Messages)
	}
	for len(came.messages) != wanted {
		reply := method.output.New().Interface()
		if err := opened.RecvMsg(reply); err != nil {
			came.status = endOfStream(err)
			came.header, _ = opened.Header()
			came.trailer = opened.Trailer()
			return came, nil
		}
		shown, err := asJSON(reply)
		if err != nil {
			return nil, err
		}
		came.messages = append(came.messages, shown)
	}
	came.wasCancelled = true
	return came, nil
}

func endOfStream(err error) *status.Status {
	if errors.Is(err, io.EOF) {
		return status.New(codes.OK, "")
	}
	return status.Convert(err)
}

func asJSON(message proto.Message) (any, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	var shown any
	return shown, decodeStrictly(text, &shown)
}

func checkAnswer(step *step, came *answer) error {
	expect := &step.Expect
	if !came.wasCancelled {
		if err := checkStatus(expect, came.status); err != nil {
			return err
		}
		if err := checkCorrelationID(step, came); err != nil {
			return err
		}
	}
	if expect.Messages != nil {
		return matchList(*expect.Messages, list(came.messages), "messages")
	}
	if !expect.hasMessage {
		return nil
	}
	if len(came.messages) == 0 {
		return errors.New("message: is not there")
	}
	return match(expect.Message, came.messages[0], "message")
}

func list(messages []any) any {
	if messages == nil {
		return []any{}
	}
	return messages
}

func checkStatus(expect *expectation, came *status.Status) error {
	if err := matchText(expect.Code, codeName(came.Code()), "code"); err != nil {
		return fmt.Errorf("%w (%s)", err, came.Message())
	}
	infos := details[*errdetails.ErrorInfo](came)
	if reason, told, isNull := text(expect.Reason); told {
		if isNull {
			if len(infos) > 0 {
				return fmt.Errorf("reason: is %s, and should not be there", infos[0].GetReason())
			}
		} else if err := checkReason(reason, infos, came); err != nil {
			return err
		}
	}
	if expect.FieldViolations != nil {
		var fields []string
		for _, bad := range details[*errdetails.BadRequest](came) {
			for _, violation := range bad.GetFieldViolations() {
				fields = append(fields, violation.GetField())
			}
		}
		if err := checkFields(*expect.FieldViolations, fields); err != nil {
			return err
		}
	}
	if expect.RetryInfo != nil {
		infos := details[*errdetails.RetryInfo](came)
		return checkRetryInfo(*expect.RetryInfo, len(infos) > 0 && infos[0].GetRetryDelay().AsDuration() > 0)
	}
	return nil
}

func checkReason(reason string, infos []*errdetails.ErrorInfo, came *status.Status) error {
	if len(infos) != 1 {
		return fmt.Errorf("reason: there are %d ErrorInfo and not one", len(infos))
	}
	if infos[0].GetDomain() != "lanyard" {
		return fmt.Errorf("reason: the domain is %q", infos[0].GetDomain())
	}
	if came.Message() == "" {
		return errors.New("reason: the status has no message")
	}
	return matchText(reason, infos[0].GetReason(), "reason")
}

func checkFields(wanted, found []string) error {
	if strings.Join(wanted, "\n") != strings.Join(found, "\n") {
		return fmt.Errorf("field_violations: are %q, not %q", found, wanted)
	}
	return nil
}

func checkRetryInfo(wanted, found bool) error {
	if wanted != found {
		return fmt.Errorf("retry_info: is %t, not %t", found, wanted)
	}
	return nil
}

// checkCorrelationID looks in all places where the server tells it.
func checkCorrelationID(step *step, came *answer) error {
	wanted, told, isNull := text(step.Expect.CorrelationID)
	if isNull {
		return nil
	}
	if !told {
		wanted = step.sentID()
	}
	headers := came.header.Get(lanyard.CorrelationIDHeader)
	trailers := came.trailer.Get(lanyard.CorrelationIDHeader)
	if len(trailers) != 1 {
		return fmt.Errorf("correlation_id: the trailers have it %d times", len(trailers))
	}
	found := trailers[0]
	if err := matchText(wanted, found, "correlation_id"); err != nil {
		return err
	}
	// grpc-go shows an answer of trailers only without initial metadata.
	isTrailersOnly := len(came.messages) == 0 && came.header.Len() == 0
	if !isTrailersOnly && (len(headers) != 1 || headers[0] != found) {
		return fmt.Errorf("correlation_id: is %q in the trailers and %q in the initial metadata", found, headers)
	}
	if came.status.Code() == codes.OK {
		return nil
	}
	infos := details[*errdetails.RequestInfo](came.status)
	if len(infos) != 1 || infos[0].GetRequestId() != found {
		return fmt.Errorf("correlation_id: is %q in the trailers and %v in RequestInfo", found, infos)
	}
	return nil
}

func save(step *step, came *answer, own variables) error {
	var whole any = came.messages
	if step.Requests == nil && len(came.messages) > 0 {
		whole = came.messages[0]
	}
	for name, path := range step.Save {
		value, err := lookUp(whole, path)
		if err != nil {
			return fmt.Errorf("save %s: %w", name, err)
		}
		own[name] = value
	}
	return nil
}

func details[D any](came *status.Status) []D {
	var found []D
	for _, detail := range came.Details() {
		if detail, ok := detail.(D); ok {
			found = append(found, detail)
		}
	}
	return found
}

// codeName writes a code as gRPC does: NOT_FOUND.
func codeName(code codes.Code) string {
	if int(code) < len(codeNames) {
		return codeNames[code]
	}
	return code.String()
}

var codeNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
	"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// rawCodec sends bytes as they are and reads messages.
type (
	rawCodec struct{}
	rawBytes []byte
)

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(value any) ([]byte, error) {
	raw, ok := value.(rawBytes)
	if !ok {
		return nil, fmt.Errorf("%T is not bytes", value)
	}
	return raw, nil
}

func (rawCodec) Unmarshal(data []byte, value any) error {
	message, ok := value.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", value)
	}
	return proto.Unmarshal(data, message)
}

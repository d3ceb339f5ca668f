package lanyard_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/lanyard/lanyard/client/go/lanyard"
	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

// shown is everything that printing, logging and marshalling make of a value.
func shown(t *testing.T, value any) string {
	t.Helper()
	var all bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		_, _ = fmt.Fprintf(&all, verb+"\n", value)
	}
	_, _ = fmt.Fprintln(&all, value)
	slog.New(slog.NewTextHandler(&all, nil)).Info("shown", "value", value)
	slog.New(slog.NewJSONHandler(&all, nil)).Info("shown", "value", value)
	return all.String()
}

func checkSecrecy(t *testing.T, name string, value any) {
	t.Helper()
	text := shown(t, value)
	for _, secret := range []string{"hunter2", fmt.Sprintf("%x", "hunter2")} {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows it: %s", name, text)
		}
	}
}

func TestNothingOfTheLayerPrintsASecret(t *testing.T) {
	client, err := lanyard.NewClient("http://127.0.0.1:1", lanyard.WithAPIKey("lyk1_hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	subject := client.OnBehalfOf(ust)
	for name, value := range map[string]any{
		"UST":                        ust,
		"pointer to a UST":           &ust,
		"exported field":             struct{ UST lanyard.UST }{ust},
		"unexported field":           struct{ ust lanyard.UST }{ust},
		"pointer to a struct":        &struct{ ust lanyard.UST }{ust},
		"map":                        map[string]lanyard.UST{"ust": ust},
		"client":                     client,
		"client by value":            *client,
		"client in a struct":         struct{ client lanyard.Client }{*client},
		"subject":                    subject,
		"subject by value":           *subject,
		"subject in a struct":        struct{ subject lanyard.Subject }{*subject},
		"login":                      &lanyard.Login{UST: ust},
		"login in a struct":          struct{ login lanyard.Login }{lanyard.Login{UST: ust}},
		"renewal":                    lanyard.Renewal{UST: ust},
		"context":                    lanyard.WithSession(t.Context(), nil, subject),
		"request":                    &lanyardv1.GetSessionRequest{Ust: secretToken},
		"request in a request":       &lanyardv1.BatchVerifySessionsRequest{Sessions: []*lanyardv1.SessionToVerify{{Ust: secretToken}}},
		"secret in a oneof":          &lanyardv1.CreateSessionRequest{Credential: &lanyardv1.CreateSessionRequest_Password{Password: &lanyardv1.PasswordCredential{Password: "hunter2"}}},
		"nil message":                (*lanyardv1.GetSessionRequest)(nil),
		"messages of a later server": unknownField(),
	} {
		checkSecrecy(t, name, value)
	}
	text, err := json.Marshal(struct{ UST lanyard.UST }{ust})
	if err != nil || strings.Contains(string(text), "hunter2") {
		t.Errorf("%s, %v", text, err)
	}
}

// unknownField holds a field that this version of the contract does not know.
func unknownField() proto.Message {
	message := &lanyardv1.GetSessionRequest{}
	message.ProtoReflect().SetUnknown(append([]byte{0xfa, 0x07, 0x07}, "hunter2"...))
	return message
}

func TestAMessagePrintsEverythingElse(t *testing.T) {
	message := &lanyardv1.RevokeSessionRequest{Ust: secretToken, SessionId: "ses_1"}
	text := fmt.Sprint(message)
	if !strings.Contains(text, "ses_1") || !strings.Contains(text, "[redacted]") {
		t.Error(text)
	}
	if message.GetUst() != secretToken {
		t.Error("printing changed the message")
	}
}

func TestNoMessageOfTheContractPrintsASecretField(t *testing.T) {
	checked := 0
	protoregistry.GlobalTypes.RangeMessages(func(kind protoreflect.MessageType) bool {
		if kind.Descriptor().ParentFile().Package() != "lanyard.v1" {
			return true
		}
		message := kind.New()
		if fillSecrets(message, 3) {
			checked++
			checkSecrecy(t, string(kind.Descriptor().FullName()), message.Interface())
		}
		return true
	})
	if checked < 40 {
		t.Errorf("only %d messages hold a secret", checked)
	}
}

// fillSecrets puts a secret wherever there may be one, and tells whether there is.
func fillSecrets(message protoreflect.Message, depth int) bool {
	filled := false
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		options, _ := field.Options().(*descriptorpb.FieldOptions)
		switch {
		case options.GetDebugRedact() && field.Kind() == protoreflect.StringKind:
			message.Set(field, protoreflect.ValueOfString("hunter2"))
			filled = true
		case field.Message() != nil && field.IsList() && depth > 0:
			inner := message.NewField(field).List()
			element := inner.NewElement()
			if fillSecrets(element.Message(), depth-1) {
				inner.Append(element)
				message.Set(field, protoreflect.ValueOfList(inner))
				filled = true
			}
		case field.Message() != nil && !field.IsMap() && depth > 0:
			inner := message.NewField(field)
			if fillSecrets(inner.Message(), depth-1) {
				message.Set(field, inner)
				filled = true
			}
		}
	}
	return filled
}

package lanyard

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

const (
	clientField protoreflect.Name = "client"
	ustField    protoreflect.Name = "ust"
)

// withClient returns the request with its `client` set, if it has such a field and it is absent.
func withClient(request proto.Message, info *lanyardv1.ClientInfo) proto.Message {
	message := request.ProtoReflect()
	field := message.Descriptor().Fields().ByName(clientField)
	if field == nil || field.Message() == nil || message.Has(field) {
		return request
	}
	return with(message, field, protoreflect.ValueOfMessage(info.ProtoReflect()))
}

// withUST returns the request with its acting `ust` set, if it is one that acts on behalf of a user.
func withUST(request proto.Message, ust UST) proto.Message {
	// Its `ust` is the token in question. To put a good one where there is none would make nothing look like something.
	if _, isQuestion := request.(*lanyardv1.VerifySessionRequest); isQuestion {
		return request
	}
	message := request.ProtoReflect()
	field := message.Descriptor().Fields().ByName(ustField)
	if field == nil || field.Kind() != protoreflect.StringKind {
		return request
	}
	return with(message, field, protoreflect.ValueOfString(ust.Expose()))
}

// with returns a copy that shares everything but this field: a request may be in use elsewhere.
func with(message protoreflect.Message, field protoreflect.FieldDescriptor, value protoreflect.Value) proto.Message {
	filled := message.New()
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		filled.Set(field, value)
		return true
	})
	filled.SetUnknown(message.GetUnknown())
	filled.Set(field, value)
	return filled.Interface()
}

// Package redact prints messages of the contract without the values of fields that are `debug_redact`.
package redact

import (
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Placeholder stands where a secret is.
const Placeholder = "[redacted]"

// Format writes the message; it serves as the Format of the generated messages, whatever the verb.
func Format(message proto.Message, f fmt.State, _ rune) {
	_, _ = fmt.Fprint(f, text(message))
}

// LogValue is the message as a text for a log; it serves as the LogValue of the generated messages.
func LogValue(message proto.Message) slog.Value {
	return slog.StringValue(text(message))
}

func text(message proto.Message) string {
	if !message.ProtoReflect().IsValid() {
		return "<nil>"
	}
	shown := proto.Clone(message).ProtoReflect()
	// What a newer server sends may be secret, too.
	forget := func(values protopath.Values) error {
		last := values.Index(-1)
		if inner, ok := last.Value.Interface().(protoreflect.Message); ok {
			redactFields(inner)
		}
		return nil
	}
	if err := protorange.Range(shown, forget); err != nil {
		return Placeholder
	}
	// Not fmt: this is what it would call.
	return shown.Interface().(fmt.Stringer).String()
}

func redactFields(message protoreflect.Message) {
	message.SetUnknown(nil)
	message.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if options, ok := field.Options().(*descriptorpb.FieldOptions); ok && options.GetDebugRedact() {
			redactField(message, field)
		}
		return true
	})
}

func redactField(message protoreflect.Message, field protoreflect.FieldDescriptor) {
	if field.Kind() == protoreflect.StringKind && !field.IsList() && !field.IsMap() {
		message.Set(field, protoreflect.ValueOfString(Placeholder))
		return
	}
	message.Clear(field)
}

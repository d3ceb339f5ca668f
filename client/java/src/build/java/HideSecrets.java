import com.google.protobuf.DescriptorProtos.DescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.compiler.PluginProtos.CodeGeneratorRequest;
import com.google.protobuf.compiler.PluginProtos.CodeGeneratorResponse;
import com.google.protobuf.compiler.PluginProtos.CodeGeneratorResponse.Feature;
import java.io.IOException;

/**
 * A plugin of protoc: gives each generated message and builder a {@code toString} that leaves out what the contract marks
 * {@code debug_redact}. Protobuf's own prints tokens and passwords.
 */
final class HideSecrets {
    private static final String TO_STRING = """
            @java.lang.Override
            public java.lang.String toString() {
              return com.google.protobuf.DebugFormat.singleLine().toString(this);
            }
            """;

    private HideSecrets() {}

    public static void main(String[] arguments) throws IOException {
        CodeGeneratorRequest request = CodeGeneratorRequest.parseFrom(System.in);
        CodeGeneratorResponse.Builder response = CodeGeneratorResponse.newBuilder()
                .setSupportedFeatures(Feature.FEATURE_PROTO3_OPTIONAL_VALUE);
        for (FileDescriptorProto file : request.getProtoFileList()) {
            if (request.getFileToGenerateList().contains(file.getName())) {
                String folder = file.getOptions().getJavaPackage().replace('.', '/');
                // Each message has a file of its own: the contract says java_multiple_files.
                file.getMessageTypeList().forEach(message ->
                        add(message, folder + "/" + message.getName() + ".java", file.getPackage(), response));
            }
        }
        response.build().writeTo(System.out);
    }

    private static void add(
            DescriptorProto message, String file, String scope, CodeGeneratorResponse.Builder response) {
        String name = scope + "." + message.getName();
        for (String kind : new String[] {"class_scope", "builder_scope"}) {
            response.addFileBuilder()
                    .setName(file)
                    .setInsertionPoint(kind + ":" + name)
                    .setContent(TO_STRING);
        }
        message.getNestedTypeList().forEach(nested -> add(nested, file, name, response));
    }
}

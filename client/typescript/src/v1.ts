/**
 * The messages, enums and services of the contract, package `lanyard.v1`, as `client/typescript/generate` makes them.
 *
 * @module
 */

export * from "./gen/lanyard/v1/attribute_pb.js";
export * from "./gen/lanyard/v1/audit_pb.js";
export * from "./gen/lanyard/v1/client_info_pb.js";
export * from "./gen/lanyard/v1/definition_pb.js";
export * from "./gen/lanyard/v1/error_pb.js";
export * from "./gen/lanyard/v1/linked_auth_pb.js";
export * from "./gen/lanyard/v1/session_pb.js";
export * from "./gen/lanyard/v1/user_pb.js";

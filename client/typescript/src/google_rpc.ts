/**
 * What a status carries beside its code, package `google.rpc`: for those who read the status of a bare stub themselves.
 *
 * @module
 */

export * from "./gen/google/rpc/error_details_pb.js";
export * from "./gen/google/rpc/status_pb.js";

"""Steps by the bare runtime: exactly the metadata of the step, and all of what comes back."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

# These put what they define into the pool.
from grpc_health.v1 import health_pb2  # noqa: F401

from lanyard import v1  # noqa: F401
from tests.cases.pattern import Mismatch, check, check_text
from tests.cases.story import NOT_SAID, Expect, Step

ID = "x-correlation-id"
_DEADLINE_MS = 10_000


class Wire:
    """Channels without anything of ours."""

    def __init__(self, descriptor_file: str) -> None:
        self._channels: dict[str, grpc.Channel] = {}
        # What is not generated here: reflection.
        self._pool = descriptor_pool.DescriptorPool()
        for file in FileDescriptorSet.FromString(Path(descriptor_file).read_bytes()).file:
            self._pool.Add(file)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def take(self, step: Step, variables: dict[str, str]) -> Any:
        """Takes a step, and returns its answer."""
        metadata = {"authorization": f"Bearer {variables['caller_key']}", ID: f"case-{variables['unique']}"}
        sent = {name: value for name, value in {**metadata, **step.metadata}.items() if value is not None}
        channel = self._channel(step.endpoint or variables["endpoint"])
        came = _Came(channel, step, self._method(step.call), tuple(sent.items()))
        came.check(sent.get(ID))
        return came.answer

    def _channel(self, endpoint: str) -> grpc.Channel:
        if endpoint not in self._channels:
            self._channels[endpoint] = grpc.insecure_channel(endpoint, [("grpc.enable_retries", 0)])
        return self._channels[endpoint]

    def _method(self, call: str) -> MethodDescriptor | None:
        service, _, name = call.partition("/")
        for pool in (descriptor_pool.Default(), self._pool):
            try:
                return pool.FindServiceByName(service).methods_by_name[name]
            except KeyError:
                continue
        return None


class _Came:
    """What came back."""

    def __init__(
        self,
        channel: grpc.Channel,
        step: Step,
        described: MethodDescriptor | None,
        metadata: tuple[tuple[str, str], ...],
    ) -> None:
        self.expect = step.expect
        request = message_factory.GetMessageClass(described.input_type) if described else None
        answer = message_factory.GetMessageClass(described.output_type) if described else None
        streams = described is not None and described.client_streaming
        bodies = _bodies(step, request)
        ask = channel.stream_stream if streams else channel.unary_stream
        method: Any = ask(f"/{step.call}", request_serializer=bytes, response_deserializer=bytes)
        deadline = (step.deadline_ms or _DEADLINE_MS) / 1000
        self.call = method(iter(bodies) if streams else bodies[0], timeout=deadline, metadata=metadata)
        self.messages: list[Any] = []
        self.is_cut_short = False
        for message in self._read():
            self.messages.append(_json(answer.FromString(message)) if answer else message)
            if step.expect.messages is not NOT_SAID and 0 < len(step.expect.messages) == len(self.messages):
                self.is_cut_short = True
                self.call.cancel()
                break
        self.is_stream = step.requests is not None
        if not self.is_stream and len(self.messages) > 1:
            raise Mismatch(f"{len(self.messages)} answers")

    def _read(self) -> Iterator[bytes]:
        try:
            yield from self.call
        except grpc.RpcError as error:
            if error is not self.call:
                raise

    @property
    def answer(self) -> Any:
        if self.is_stream:
            return self.messages
        return self.messages[0] if self.messages else None

    def check(self, sent_id: str | None) -> None:
        expect = self.expect
        if not self.is_cut_short:
            code: grpc.StatusCode = self.call.code()
            check_text(expect.code, code.name, f"code ({self.call.details()})")
            status = _Status(self.call)
            self._check_id(status, sent_id)
            if code is not grpc.StatusCode.OK:
                status.check(expect, self.call.details())
            elif not self.is_stream and not self.messages:
                raise Mismatch("there is no answer")
        if expect.message is not NOT_SAID:
            check(expect.message, self.answer, "message")
        if expect.messages is not NOT_SAID:
            check(expect.messages, self.answer, "messages")

    def _check_id(self, status: "_Status", sent_id: str | None) -> None:
        wanted = sent_id if self.expect.correlation_id is NOT_SAID else self.expect.correlation_id
        if wanted is None:
            return
        initial = [value for name, value in self.call.initial_metadata() or () if name == ID]
        trailing = [value for name, value in self.call.trailing_metadata() or () if name == ID]
        is_ok = self.call.code() is grpc.StatusCode.OK
        found = {"trailers": trailing, "initial metadata": initial}
        if not initial and not is_ok:
            # The whole answer was trailers.
            del found["initial metadata"]
        if not is_ok:
            found["RequestInfo"] = [info.request_id for info in status.all_of(RequestInfo)]
        for place, ids in found.items():
            if len(ids) != 1:
                raise Mismatch(f"correlation_id: in the {place} stands {ids}")
            check_text(wanted, ids[0], f"correlation_id in the {place}")
            check_text(trailing[0], ids[0], f"correlation_id in the {place}")


class _Status:
    """The details of a status."""

    def __init__(self, call: Any) -> None:
        packed = [value for name, value in call.trailing_metadata() or () if name == "grpc-status-details-bin"]
        self._status = Status.FromString(packed[0]) if packed else Status()

    def all_of(self, kind: type[Any]) -> list[Any]:
        found = []
        for packed in self._status.details:
            detail = kind()
            if packed.Unpack(detail):
                found.append(detail)
        return found

    def check(self, expect: Expect, text: str) -> None:
        if expect.reason is not NOT_SAID:
            infos = [(info.reason, info.domain) for info in self.all_of(ErrorInfo)]
            wanted = [] if expect.reason is None else [(expect.reason, "lanyard")]
            if infos != wanted or not text:
                raise Mismatch(f"reason: is {infos} with {text!r}, not {wanted}")
        if expect.field_violations is not NOT_SAID:
            found = [bad.field for request in self.all_of(BadRequest) for bad in request.field_violations]
            check(expect.field_violations, found, "field_violations")
        if expect.retry_info is not NOT_SAID:
            delays = [info.retry_delay.ToTimedelta().total_seconds() for info in self.all_of(RetryInfo)]
            if expect.retry_info != (len(delays) == 1 and delays[0] > 0):
                raise Mismatch(f"retry_info: the delays are {delays}")


def _bodies(step: Step, request: type[Message] | None) -> list[bytes]:
    if step.request_bytes is not None:
        return [base64.b64decode(step.request_bytes)]
    if request is None:
        return [b""]
    try:
        written = [step.request] if step.requests is None else step.requests
        return [json_format.ParseDict(one, request()).SerializeToString() for one in written]
    except json_format.ParseError as problem:
        raise Mismatch(f"the request: {problem}") from problem


def _json(message: Message) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)

"""What calls carry."""

import logging
import re

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import lanyard
from lanyard import Client, CorrelationFilter, Ust, correlation, rpc, v1
from tests.support import KEY, UST, Fake

ID = "x-correlation-id"
TRACES = TracerProvider()
UUID_V7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_the_key_and_a_new_id_go_with_each_call(fake: Fake, client: Client) -> None:
    client.verify(UST)
    client.verify(UST)
    assert fake.metadata("authorization") == [f"Bearer {KEY}"] * 2
    one, two = fake.metadata(ID)
    assert one != two
    assert isinstance(one, str) and UUID_V7.fullmatch(one)


def test_the_id_of_the_context_goes_with_each_call_inside(fake: Fake, client: Client) -> None:
    with correlation("order-4711"):
        client.verify(UST)
        with correlation("inner"):
            client.verify(UST)
        client.verify(UST)
    client.verify(UST)
    assert fake.metadata(ID)[:3] == ["order-4711", "inner", "order-4711"]
    assert fake.metadata(ID)[3] != "order-4711"


def test_the_id_of_the_client_goes_before_that_of_the_context(fake: Fake, client: Client) -> None:
    with correlation("of-context"):
        client.with_correlation_id("of-client").on_behalf_of(UST).log_out()
    assert fake.metadata(ID) == ["of-client"]


@pytest.mark.parametrize("bad", ["", " ", "a b", "ä", "a\n", "a/b", "x" * 129])
def test_what_is_no_id_is_refused_and_not_repeated(client: Client, bad: str) -> None:
    with pytest.raises(ValueError, match=r"^a correlation ID is 1 to 128 of letters"):
        client.with_correlation_id(bad)
    with pytest.raises(ValueError, match=r"^a correlation ID is"), correlation(bad):
        pass


def test_log_lines_have_the_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(CorrelationFilter())
    logger = logging.getLogger("test")
    logger.warning("before")
    with correlation("order-4711"):
        logger.warning("inside")
    assert [vars(record)["correlation_id"] for record in caplog.records] == ["-", "order-4711"]


def test_where_the_user_is_goes_with_each_call(fake: Fake) -> None:
    with Client(fake.address, current_app="CRM") as client:
        client.verify(UST)
        elsewhere = client.with_client_info(remote_addr="203.0.113.7", user_agent="curl")
        elsewhere.verify(UST)
        client.call(rpc.SessionService.VerifySession, v1.VerifySessionRequest(client=v1.ClientInfo(current_app="own")))
    assert [asked.request.client for asked in fake.asked] == [
        v1.ClientInfo(current_app="CRM"),
        v1.ClientInfo(current_app="CRM", remote_addr="203.0.113.7", user_agent="curl"),
        v1.ClientInfo(current_app="own"),
    ]


def test_a_request_that_was_handed_in_stays_as_it_is(client: Client) -> None:
    request = v1.ListSessionsRequest(all_users=True)
    user = client.with_client_info(current_app="CRM").on_behalf_of(UST)
    user.call(rpc.SessionService.ListSessions, request)
    list(user.list_sessions(request))
    assert request == v1.ListSessionsRequest(all_users=True)


def test_acting_calls_carry_the_token_of_their_user(fake: Fake, client: Client) -> None:
    client.on_behalf_of(Ust(UST)).log_out()
    client.on_behalf_of(UST).call(rpc.UserService.ListUsers, v1.ListUsersRequest(ust="another's"))
    assert [asked.request.ust for asked in fake.asked] == [UST, UST]


def test_the_deadline_is_told_to_the_server(fake: Fake, client: Client) -> None:
    client.verify(UST)
    client.with_deadline(0.5).verify(UST)
    assert 1 < fake.asked[0].seconds_left < 2.1
    assert 0 < fake.asked[1].seconds_left < 0.6


def test_secrets_do_not_show(client: Client) -> None:
    login = lanyard.Login(Ust(UST), v1.UserSession(session_id="ses_1", session_auth=UST), ())
    renewal = lanyard.Renewal(v1.UserSession(session_auth=UST), Ust(UST), None)
    for shown in (Ust(UST), client, client.on_behalf_of(UST), login, renewal):
        assert "secret" not in repr(shown) + str(shown)
    with pytest.raises(ValueError) as raised:
        Client("127.0.0.1:1", api_key="secret\n")
    assert "secret" not in repr(raised.value)


def test_tokens_are_equal_by_what_they_are() -> None:
    assert Ust(UST) == Ust(UST) != Ust("another")
    assert Ust(UST) != UST
    assert len({Ust(UST), Ust(UST)}) == 1


def traceparent(span: trace.SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def test_calls_carry_the_trace_of_the_current_span(fake: Fake, client: Client) -> None:
    with TRACES.get_tracer("test").start_as_current_span("request") as span:
        client.verify(UST)
    client.verify(UST)
    assert fake.metadata("traceparent") == [traceparent(span.get_span_context()), None]


def test_the_standard_instrumentation_makes_spans_and_is_what_calls_carry(fake: Fake) -> None:
    # It takes the provider of the process.
    trace.set_tracer_provider(TRACES)
    exporter = InMemorySpanExporter()
    TRACES.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = GrpcInstrumentorClient()  # type: ignore[no-untyped-call]
    instrumentor.instrument()
    try:
        with Client(fake.address, api_key=KEY) as client:
            with TRACES.get_tracer("test").start_as_current_span("request") as span:
                client.verify(UST)
    finally:
        instrumentor.uninstrument()
    call, request = exporter.get_finished_spans()
    assert (call.name, request.name) == ("/lanyard.v1.SessionService/VerifySession", "request")
    assert call.kind is trace.SpanKind.CLIENT and call.context is not None
    assert call.context.trace_id == span.get_span_context().trace_id
    assert fake.metadata("traceparent") == [traceparent(call.context)]
    attributes = str(dict(call.attributes or {}))
    assert KEY not in attributes and UST not in attributes


def test_headers_for_another_service_have_the_id_and_the_trace() -> None:
    assert lanyard.outgoing_headers() == {}
    with correlation("order-4711"), TRACES.get_tracer("test").start_as_current_span("request"):
        headers = lanyard.outgoing_headers()
    assert headers[ID] == "order-4711"
    assert set(headers) == {ID, "traceparent"}

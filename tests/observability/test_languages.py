"""One correlation ID and one trace cross all languages: a service in each asks the next one, and all of them ask Lanyard."""

from __future__ import annotations

from collections import Counter
from typing import Any

import requests
from lanyard import Client, correlation, outgoing_headers, v1
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from backends import Jaeger
from chain import Chain
from lanyard_server import Server
from processes import eventually
from test_traces import SERVICE, calls, one_trace
from tree import Span

# What each service asks of Lanyard.
ASKED = ["SessionService/VerifySession", "LinkedAuthService/ListLinkedAuth"]


def ask(chain: Chain, ust: str) -> list[dict[str, Any]]:
    """What each service says, the first one first."""
    headers = {**outgoing_headers(), "authorization": f"Bearer {ust}"}
    answer = requests.get(chain.url, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    said: list[dict[str, Any]] = []
    following = answer.json()
    while following:
        said.append(following)
        following = following.pop("next", None)
    return said


def causes(root: Span, span: Span) -> list[Span]:
    """The spans above, the nearest one first."""
    parent = next((above for _, above in root.below() if span in above.children), None)
    return [parent, *causes(root, parent)] if parent else []


def served(root: Span, language: str) -> list[Span]:
    return [span for _, span in root.below() if (span.service, span.kind) == (language, "server")]


def audited(admin: Any, correlation_id: str, operation: str) -> Counter[str]:
    """How often each caller did it under the correlation ID, as the audit trail has it."""
    request = v1.ListAuditEventsRequest(correlation_id=correlation_id, operation=operation)
    return Counter(event.caller for event in admin.list_audit_events(request))


def test_one_correlation_id_and_one_trace_cross_all_languages(
    client: Client,
    server: Server,
    chain: Chain,
    tracer: trace.Tracer,
    provider: TracerProvider,
    jaeger: Jaeger,
    correlation_id: str,
) -> None:
    with tracer.start_as_current_span("GET /chain"), correlation(correlation_id):
        said = ask(chain, client.log_in(*server.demo).ust.expose())
    provider.force_flush()

    assert [each["language"] for each in said] == chain.languages
    assert {(each["username"], each["correlation_id"], each["links"]) for each in said} == {("demo", correlation_id, 1)}

    admin = client.on_behalf_of(client.log_in(*server.admin).ust)
    once_each = Counter(chain.languages)
    # Reads are written behind their answers.
    eventually(lambda: audited(admin, correlation_id, "link.list") == once_each, "audit event of each service")
    assert sum(audited(admin, correlation_id, "session.create").values()) == 1

    def is_whole(root: Span) -> bool:
        wanted = len(chain.languages)
        return root.name == "GET /chain" and all(len(calls(root, method)) == wanted for method in ASKED)

    root = one_trace(jaeger, correlation_id, is_whole)
    before = root
    for language in chain.languages:
        (request,) = served(root, language)
        above = causes(root, request)
        assert above[0].service == before.service, f"{language} is caused by {above[0]}"
        assert before in above
        before = request
    for method in ASKED:
        asking = [causes(root, call) for call in calls(root, method)]
        assert sorted(above[0].service for above in asking) == sorted(chain.languages)
        for above in asking:
            # The Rust client makes no span of its own: what calls is its cause.
            assert above[0].kind == ("server" if above[0].service == "rust" else "client"), above[0]
            assert served(root, above[0].service)[0] in above
    of_lanyard = [span for _, span in root.below() if span.service == "lanyard" and span.name.startswith(SERVICE)]
    assert {span.tags["lanyard.correlation_id"] for span in of_lanyard} == {correlation_id}

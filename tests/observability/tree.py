"""A trace of Jaeger, as a tree of spans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Span:
    service: str
    name: str
    span_id: str
    parent_id: str | None
    # Microseconds.
    start: int
    duration: int
    tags: dict[str, Any]
    children: list[Span] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.tags.get("span.kind", "internal"))

    @property
    def end(self) -> int:
        return self.start + self.duration

    def below(self) -> Iterator[tuple[int, Span]]:
        """This span and all those below it, with their depth, each parent before its children."""
        waiting = [(0, self)]
        while waiting:
            depth, span = waiting.pop()
            yield depth, span
            waiting.extend((depth + 1, child) for child in reversed(span.children))

    def find(self, name: str) -> list[Span]:
        return [span for _, span in self.below() if span.name == name]


def spans(trace: dict[str, Any]) -> list[Span]:
    found = []
    for span in trace["spans"]:
        parents = [reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"]
        found.append(
            Span(
                service=trace["processes"][span["processID"]]["serviceName"],
                name=span["operationName"],
                span_id=span["spanID"],
                parent_id=parents[0] if parents else None,
                start=span["startTime"],
                duration=span["duration"],
                tags={tag["key"]: tag["value"] for tag in span["tags"]},
            )
        )
    return found


def roots(trace: dict[str, Any]) -> list[Span]:
    """The spans without a parent in the trace: one, if nothing is lost."""
    everything = sorted(spans(trace), key=lambda span: span.start)
    by_id = {span.span_id: span for span in everything}
    found = []
    for span in everything:
        parent = by_id.get(span.parent_id or "")
        (parent.children if parent else found).append(span)
    return found

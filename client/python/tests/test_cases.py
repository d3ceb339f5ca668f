"""All cases, by the bare runtime and through both clients, against `LANYARD_CASE_SERVER`."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cases.layer import take_by_asyncio, take_by_threads
from tests.cases.pattern import Mismatch, check
from tests.cases.story import Case, Step, read_cases, tell
from tests.cases.wire import Wire
from tests.support import ROOT, first_line, program

CASES = read_cases(Path(os.environ.get("LANYARD_CASES", ROOT / "tests" / "cases")))


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    server = program("LANYARD_CASE_SERVER", "case-server")
    with subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield json.loads(first_line(process))
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def wire(variables: dict[str, str]) -> Iterator[Wire]:
    wire = Wire(variables["descriptor_file"])
    yield wire
    wire.close()


def test_there_are_cases_and_no_two_of_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, variables: dict[str, str], wire: Wire) -> None:
    layers = (take_by_threads, take_by_asyncio) if case.uses_client else (take_by_threads,)

    try:
        for layer in layers:

            def take(step: Step, variables: dict[str, str], layer: Any = layer) -> Any:
                return (wire.take if step.via == "wire" else layer)(step, variables)

            tell(case, variables, take)
    except Exception as problem:
        report(case, "failed", str(problem))
        raise
    report(case, "passed")


def report(case: Case, result: str, reason: str | None = None) -> None:
    file = os.environ.get("LANYARD_CASES_REPORT")
    if not file:
        return
    line = {"language": "python", "case": case.name, "result": result}
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(line if reason is None else {**line, "reason": reason}) + "\n")


FOUND: Any = {"name": "alice", "count": "7", "ok": True, "list": [{"a": 1}, {"a": 2, "b": 3}]}


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"name": "alice", "other": None},
        {"name": "~[a-z]+", "count": 7, "ok": "true"},
        {"list": [{"a": "1"}, {}]},
        {"list": {"~length": 2, "~each": {"a": "~[0-9]"}, "~contains": {"b": 3}}},
    ],
)
def test_a_pattern_matches_what_the_format_says(good: Any) -> None:
    check(good, FOUND, "message")


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "bob"},
        {"name": "~[a-z]"},
        {"name": None},
        {"name": {"first": "x"}},
        {"other": "x"},
        {"list": [{}]},
        {"list": [{}, {"b": 4}]},
        {"list": {"~length": 3}},
        {"list": {"~each": {"b": 3}}},
        {"list": {"~contains": {"b": 4}}},
        {"list": {"length": 2}},
    ],
)
def test_a_pattern_matches_nothing_else(bad: Any) -> None:
    with pytest.raises(Mismatch):
        check(bad, FOUND, "message")


@pytest.mark.parametrize(
    "step",
    [
        {"call": "a/B", "unheard_of": 1},
        {"call": "a/B", "expect": {"unheard_of": 1}},
        {"call": "${unheard_of}"},
        {"call": "${sin:unique}"},
    ],
)
def test_what_a_runner_does_not_know_fails_the_case(step: Any) -> None:
    with pytest.raises(Mismatch):
        tell(Case("a_case", [step]), {}, lambda step, variables: None)

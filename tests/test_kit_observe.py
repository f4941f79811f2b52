"""Events, redaction and metrics."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from connector.errors import InvariantError
from connector.kit import observe

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Give the JSON lines logged so far."""
    stream = io.StringIO()
    observe.configure("json", "info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    observe.configure()


def test_an_event_is_one_line_with_its_keys(lines: Lines) -> None:
    """An event is a JSON line with time, level, name and the keys as given."""
    observe.log("run.finished", run_id="r1", staged=3)
    (line,) = lines()
    assert line.items() >= {"event": "run.finished", "level": "info", "run_id": "r1", "staged": 3}.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["timestamp"])


def test_an_unknown_event_is_refused() -> None:
    """A name outside the registry is our bug."""
    with pytest.raises(InvariantError, match="registered"):
        observe.log("run.exploded")


def test_event_names_are_noun_and_verb() -> None:
    """Every registered name is noun.past_verb; errors are among the events."""
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", name) for name in observe.EVENTS)
    assert observe.ERRORS <= observe.EVENTS


def test_secrets_never_reach_the_log(lines: Lines) -> None:
    """Keys that sound like a secret are blanked, registered values wherever they stand, at any depth."""
    secret = uuid4().hex
    observe.register_secret(secret)
    observe.log(
        "run.finished",
        client_secret="abc",
        hint=f"the login with {secret} failed",
        detail={"Authorization": "Bearer x", "tried": [f"a={secret}"], "key": "org/deal/r1"},
    )
    (line,) = lines()
    assert secret not in json.dumps(line)
    assert line["client_secret"] == "[hidden]"
    assert line["hint"] == "the login with [hidden] failed"
    assert line["detail"] == {"Authorization": "[hidden]", "tried": ["a=[hidden]"], "key": "org/deal/r1"}


def test_a_repeated_error_is_held_back(lines: Lines) -> None:
    """The same error is logged once in thirty seconds; another error, or another record, is logged at once."""
    error = f"unreachable {uuid4().hex}"
    for _ in range(5):
        observe.log("run.failed", error=error)
    observe.log("run.failed", error=error + " still")
    observe.log("record.parked", error=error, record_id="006A")
    observe.log("record.parked", error=error, record_id="006B")
    assert [line["event"] for line in lines()] == ["run.failed", "run.failed", "record.parked", "record.parked"]
    assert {line["level"] for line in lines()} == {"error"}


def test_the_level_is_kept() -> None:
    """Below the configured level nothing is written."""
    stream = io.StringIO()
    observe.configure("console", "error", stream)
    observe.log("run.finished")
    assert stream.getvalue() == ""
    observe.log("run.failed", error=uuid4().hex)
    assert "run.failed" in stream.getvalue()
    observe.configure()


def test_metrics_have_our_prefix_and_a_meaning() -> None:
    """Every metric starts with connector_ and has a line that says what it is."""
    observe.gauge_deals({"parked": 2})
    text = observe.render_metrics().decode()
    assert 'connector_deals{state="parked"} 2.0' in text
    named = re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)
    assert named
    assert all(name.startswith("connector_") and meaning for name, meaning in named)

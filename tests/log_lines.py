"""What was logged while a test ran, as events; the logging of before comes back."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from connector.kit import observe


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """Give a list that holds the events once the block has ended."""
    before = structlog.get_config()
    stream = io.StringIO()
    observe.configure(stream=stream)
    events: list[dict[str, Any]] = []
    try:
        yield events
    finally:
        structlog.configure(**before)
        events += [json.loads(line) for line in stream.getvalue().splitlines()]

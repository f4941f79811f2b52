"""Lists of ids in statements: so many at a time, each with its place holders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from connector.billing.store import READ_ROWS

Id = TypeVar("Id", str, int)


def in_batches(ids: Iterable[Id]) -> Iterator[tuple[list[Id], str]]:
    """Return the ids without repetition, a batch at a time, with the text of its list: "?,?,?"."""
    unique = list(dict.fromkeys(ids))
    for start in range(0, len(unique), READ_ROWS):
        batch = unique[start : start + READ_ROWS]
        yield batch, ",".join("?" * len(batch))

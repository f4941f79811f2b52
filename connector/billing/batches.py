"""Lists of ids in statements: so many at a time, each with its place holders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from connector.billing.store import READ_ROWS


def in_batches(ids: Iterable[str]) -> Iterator[tuple[list[str], str]]:
    """Return the ids without repetition, a batch at a time, with the text of its list: "?,?,?"."""
    unique = list(dict.fromkeys(ids))
    for start in range(0, len(unique), READ_ROWS):
        batch = unique[start : start + READ_ROWS]
        yield batch, ",".join("?" * len(batch))

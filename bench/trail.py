"""The trail of a run: which queries our side asked and which records it wrote, one JSON line a call, for the floor to follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec


class Sent(msgspec.Struct, array_like=True):
    """One record that was written, as `ports.Upsert` has it."""

    object: str
    id: str | None
    key_field: str | None
    key: str | None
    values: dict[str, Any]


class Call(msgspec.Struct, omit_defaults=True):
    """One call of the CRM port: either *soql* was asked or *sent* was written."""

    soql: list[str] = []
    with_deleted: bool = False
    sent: list[Sent] = []


_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(Call).decode


def note(path: Path, call: Call) -> None:
    """Append a call to a trail."""
    with path.open("ab") as file:
        file.write(_encode(call) + b"\n")


def follow(path: Path) -> Iterator[Call]:
    """Yield the calls of a trail, one at a time."""
    with path.open("rb") as file:
        for line in file:
            yield _decode(line)


def batches(sent: Sequence[Sent], size: int) -> Iterator[list[Sent]]:
    """Yield the records in runs of one kind, at most *size* each."""
    by_kind: dict[tuple[str, str | None], list[Sent]] = {}
    for one in sent:
        by_kind.setdefault((one.object, one.key_field), []).append(one)
    for together in by_kind.values():
        for at in range(0, len(together), size):
            yield together[at : at + size]

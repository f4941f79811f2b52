"""What a test may make the demo CRM do wrong: each knob is one documented behaviour of the real thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from connector.lookalike.crm.refusal import Refusal

_KNOBS = (
    "reset", "fail", "drop_after_commit", "hide", "read_only", "lock", "refuse", "page_size", "child_page_size", "limit_reached",
    "limit_suffix", "latency_ms", "clock_skew_s", "revoke_tokens", "forget_locators",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class FailNext:
    """The next *times* calls of *kind* (every kind if empty) get *status* without being carried out."""

    status: int
    times: int = 1
    kind: str = ""
    is_html: bool = False


@dataclass(slots=True, kw_only=True)
class Faults:
    """The knobs, all off at first.

    locked - id of a record or its account -> how many saves still fail with UNABLE_TO_LOCK_ROW. refused - id -> message of
    a validation rule that never lets a save through. drop_after_commit - writes that are carried out but never answered.
    """

    fail: list[FailNext] = field(default_factory=list)
    drop_after_commit: int = 0
    hidden: set[tuple[str, str]] = field(default_factory=set)
    read_only: set[tuple[str, str]] = field(default_factory=set)
    locked: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    page_size: int = 2000
    child_page_size: int = 200
    limit_reached: bool = False
    limit_suffix: str = ""
    latency_ms: int = 0
    clock_skew_s: int = 0
    generation: int = 0

    def apply(self, spec: dict[str, Any]) -> None:
        """Set the knobs named in *spec*, the body of POST /demo/faults.

        Raises: Refusal for a knob that does not exist.
        """
        unknown = [name for name in spec if name not in _KNOBS]
        if unknown:
            raise Refusal("INVALID_INPUT", f"no such knob: {', '.join(unknown)}; there are {', '.join(_KNOBS)}")
        if spec.get("reset"):
            self._reset()
        for one in spec.get("fail", ()):
            self.fail.append(
                FailNext(
                    status=one["status"],
                    times=one.get("times", 1),
                    kind=one.get("kind", ""),
                    is_html=one.get("html", False),
                )
            )
        self.hidden |= {_name(one) for one in spec.get("hide", ())}
        self.read_only |= {_name(one) for one in spec.get("read_only", ())}
        self.locked.update(spec.get("lock", {}))
        self.refused.update(spec.get("refuse", {}))
        for plain in (
            "drop_after_commit",
            "page_size",
            "child_page_size",
            "limit_reached",
            "limit_suffix",
            "latency_ms",
            "clock_skew_s",
        ):
            if plain in spec:
                setattr(self, plain, spec[plain])
        self.generation += 1

    def _reset(self) -> None:
        fresh = Faults()
        for name in self.__slots__:
            if name != "generation":
                setattr(self, name, getattr(fresh, name))

    def failing(self, kind: str) -> FailNext | None:
        """Return the failure that the next call of *kind* must get, and count it."""
        for one in self.fail:
            if one.times > 0 and one.kind in ("", kind):
                one.times -= 1
                return one
        return None

    def check_save(self, records: tuple[str | None, ...]) -> None:
        """Raise the Refusal that a save of these records (itself, its account) must get."""
        if not self.locked and not self.refused:
            return
        for record in records:
            if record and self.locked.get(record, 0) > 0:
                self.locked[record] -= 1
                raise Refusal("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        if records[0] in self.refused:
            raise Refusal("FIELD_CUSTOM_VALIDATION_EXCEPTION", self.refused[records[0]])


def _name(dotted: str) -> tuple[str, str]:
    kind, _, name = dotted.partition(".")
    return kind, name

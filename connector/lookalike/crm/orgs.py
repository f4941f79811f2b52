"""An org from settings that people write: the `org:` section of a seed file, or `--org NAME=VALUE` of the command.

`{"multi_currency": true, "currency": "USD", "hide": ["Account.Fax"]}` makes a multi-currency org whose integration user does not see
a field. Every wrong setting is named at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connector.errors import ConfigError, Problem
from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.refusal import Refusal

_TRAITS = {
    "name": "name", "quotes": "has_quotes", "cpq": "has_cpq", "person_accounts": "has_persons", "state_country_picklists": "has_codes",
    "price_scale": "price_scale", "org_number": "org_number", "sandbox": "is_sandbox", "daily_limit": "daily_limit", "objects": "objects", "fields": "fields", "formulas": "formulas",
    "rules": "rules", "record_locks": "record_locks", "bare": "is_bare",
}  # fmt: skip
_OWN = {"currency": str, "timezone": str, "multi_currency": bool}
_KNOBS = ("hide", "read_only", "require", "not_unique")
_HINT = "docs/demo-crm.md lists the settings of an org."


def org_from(
    settings: Mapping[str, Any], *, path: Path | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Org:
    """Return a new org as *settings* describe it. Raises: ConfigError with everything that is wrong."""
    problems: list[str] = []
    own: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    knobs: dict[str, Any] = {}
    usual = {one.name: one.default for one in dataclass_fields(Traits)}
    for name, value in settings.items():
        if name in _OWN:
            _take(own, name, value, _OWN[name], name, problems)
        elif name in _TRAITS:
            _take(traits, _TRAITS[name], value, type(usual[_TRAITS[name]]), name, problems)
        elif name in _KNOBS:
            knobs[name] = value
        else:
            problems.append(f"There is no setting {name}; there are {', '.join((*_OWN, *_TRAITS, *_KNOBS))}.")
    problems += _wrong_specs(traits)
    if "timezone" in own and not _is_zone(own["timezone"]):
        problems.append(f"There is no time zone {own['timezone']}.")
    _stop(problems)
    wanted = Traits(**traits, knobs=tuple(knobs.items()))
    try:
        trial = Org(clock=clock, traits=wanted, **own)
    except (ValueError, Refusal) as error:
        raise _bad([error.message if isinstance(error, Refusal) else f"{error}."]) from error
    _stop(trial.conditions.problems())
    return Org(clock=clock, path=path, traits=wanted, **own)


def _wrong_specs(traits: dict[str, Any]) -> list[str]:
    out = []
    for name, needed in (("rules", {"object", "when", "message"}), ("record_locks", {"object", "when"})):
        for number, one in enumerate(traits.get(name, ()), 1):
            if not isinstance(one, dict) or not needed <= set(one) or set(one) - needed - {"field"}:
                out.append(f"{name}, number {number}: it needs {', '.join(sorted(needed))}.")
    return out


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


def _take(into: dict[str, Any], key: str, value: Any, wanted: type, name: str, problems: list[str]) -> None:
    if wanted is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not wanted:
        what = {bool: "true or false", int: "a whole number", tuple: "a list", str: "a text"}[wanted]
        problems.append(f"{name} takes {what}, not {value!r}.")
    else:
        into[key] = value


def _stop(problems: list[str]) -> None:
    if problems:
        raise _bad(problems)


def _bad(problems: list[str]) -> ConfigError:
    return ConfigError([Problem(code="bad-org", message=one, hint=_HINT) for one in problems])


def settings_from_words(words: Iterable[str]) -> dict[str, Any]:
    """Return the settings of `--org NAME` and `--org NAME=VALUE`: a bare name is true; numbers and true or false are read as such."""
    out: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        plain = {"": not sign, "true": True, "false": False}.get(text.lower(), text)
        value: Any = int(text) if text.isdigit() else plain
        out[name.strip()] = [one.strip() for one in text.split(",")] if name.strip() in ("hide", "read_only", "not_unique") else value
    return out

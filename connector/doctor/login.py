"""Judges how we log in: the flow, and the API version among those that the org offers. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from connector.doctor.findings import Finding, failed, ok, warned

PASSWORD_ENDS = "Summer '27 (about June 2027)"  # noqa: S105 - a date, no password
_SUPPORTED_RELEASES = 9  # Salesforce supports a version for three years at least, and there are three releases a year
_NAMED = 3


def flow(auth: str, api_version: str) -> Finding:
    """Return whether the kind of login has a future."""
    if auth != "password":
        return ok("login-flow", auth)
    return warned(
        "login-flow",
        f"`auth: password` with API version {api_version} works until {PASSWORD_ENDS}, never from version 65.0 on, and not at all in orgs"
        " that have switched it off.",
        "Use `auth: client_credentials` or `auth: jwt`.",
    )


def version(wanted: str, offered: Sequence[str]) -> Finding:
    """Return whether the org offers the version that we speak, and for how long it may."""
    known = sorted(offered, key=_number)
    if not known:
        return failed("api-version", "The org lists no API version.", "Check `crm.url`.")
    newest = known[-1]
    if _number(wanted) not in {_number(v) for v in known}:
        hint = f'Set `crm.api_version: "{newest}"`, or one from {" or ".join(known[-_NAMED:-1])}.'
        return failed("api-version", f"The org does not offer API version {wanted}; it has {known[0]} to {newest}.", hint)
    behind = _number(newest) - _number(wanted)
    if behind >= _SUPPORTED_RELEASES:
        message = f"API version {wanted} is {behind} releases old; Salesforce promises three years, and retires old versions."
        return warned("api-version", message, f'Set `crm.api_version: "{newest}"`.')
    return ok("api-version", f"{wanted}; the org offers {known[0]} to {newest}")


def _number(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0

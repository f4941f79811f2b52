"""Changes of one contract by request: read from options or a file in the vocabulary of scenarios, previewed or carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.shared import TOLD, file_of, said_text
from connector.billing.contracting import command_for, contract_named
from connector.core.money import major
from connector.core.period import to_local
from connector.core.terms import Change, Contract, change_to_data
from connector.errors import ConfigError, Problem, RejectedError, Where
from connector.kit import yamlpos
from connector.simulate.actions import read_change
from connector.sync import intents
from connector.verbs import TOGETHER, Result, held_as, notes_of, open_config, preview_invoices

_NOUNS = {"amend": "amendment", "cancel": "cancellation", "pause": "pause", "resume": "resumption", "renew": "renewal"}


def _change(contract: Contract, said: Mapping[str, Any], located: yamlpos.Located | None, now: datetime) -> Change:
    """Return the change as read, made at *now* (aware). Raises: ConfigError with every problem, with its place in the file."""
    change, complaints = read_change(said, contract, to_local(now, contract.terms.timezone))
    if not complaints and change is not None:
        return change
    if located is not None:
        raise ConfigError([located.problem(c.code, c.path, c.message, c.hint, at_key=c.at_key) for c in complaints])
    see = f"See `connector contracts {said['do']} --help`."
    raise ConfigError([Problem(code=c.code, message=c.message, hint=f"{c.hint} {see}".strip()) for c in complaints])


def change(config_path: Path, name: str, action: Mapping[str, Any], *, file: Path | None = None, is_dry: bool = False) -> Result:
    """Change the contract *name* (its id or a deal of it) as *action* and *file* say; *is_dry* writes nothing.

    Returns what was done or would be, with the invoices that follow. Raises: ConfigError with every problem of the file or
    options; RejectedError where the change is impossible.
    """
    located = None if file is None else file_of(file, wanted="what changes, such as items:")
    said = {**(located.value if located else {}), **{k: v for k, v in action.items() if v is not None}}
    config, verb = open_config(config_path), str(said["do"])
    label, given = f"connector contracts {verb}", str(said.pop("id", "") or "")
    with app.reading_house(config) as books, books.database.read() as unit:
        contract = contract_named(unit, books.billing.org, name)
        key = intents.named("contract.change", contract.id, given) if given else None
        if key is not None and intents.done_before(unit, key, said_text(said), f"The change {given} of {contract.id}") is not None:
            text = f"The change {given} of {contract.id} ({contract.label}) was made before, by the same file; nothing was done."
            return {"text": text, "contract": contract.id, "invoices": [], "issued": []}
        made = _change(contract.contract, said, located, books.now())
        command = command_for(unit, contract, made, key="it_preview", label=label)
        preview = books.billing.preview(command, unit, books.now())
    if preview.problem is not None:
        raise RejectedError(replace(preview.problem, where=Where()))
    invoices = preview_invoices(preview, preview.currency)
    when = f"{_NOUNS[verb]} of {contract.id} ({contract.label})"
    if is_dry:
        together = f" {notes_of(preview)}".rstrip()
        text = f"Nothing was written. This would be the {when}.{together}"
        return {"text": text, "contract": contract.id, "invoices": invoices, "issued": [], "held": held_as(preview)}
    data = {"contract": contract.id, "label": label, "change": change_to_data(made), **({"said": said_text(said)} if key else {})}
    done = app.request(config, f"contracts {verb}", "contract.change", data, key=key)
    issued = [{**i, "total": f"{major(i['total'], i['currency'])} {i['currency'].upper()}"} for i in done["invoices"]]
    waits = f" {TOGETHER}" if done["is_consolidated"] else ""
    return {"text": f"Done: {when}. {TOLD}{waits}", "contract": contract.id, "invoices": invoices, "issued": issued}

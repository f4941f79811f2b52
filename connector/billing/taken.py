"""What was taken of lines after they were billed: by credit notes, by voiding, and by changes of the contract on later invoices.

Worked example: of 62.00 for January a note took 10.00 and a change credited 32.00 on the next invoice; 20.00 can still be credited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from connector.billing import store
from connector.core.invoicing import Line
from connector.ports import Unit


def taken_of(unit: Unit, keys: Iterable[str]) -> dict[str, int]:
    """Return what credit notes and voiding took of lines, net of tax on top, by key; one look where there never was any."""
    if not unit.query("SELECT 1 FROM credit_note_line LIMIT 1"):
        return {}
    found: dict[str, int] = {}
    wanted = list(keys)
    for start in range(0, len(wanted), store.READ_ROWS):
        batch = wanted[start : start + store.READ_ROWS]
        sql = f"SELECT line_key, SUM(amount) FROM credit_note_line WHERE line_key IN ({','.join('?' * len(batch))}) GROUP BY line_key"
        found.update((key, int(amount)) for key, amount in unit.query(sql, batch))
    return found


def take_from_lines(unit: Unit, invoice_id: str, taken: Mapping[str, int]) -> None:
    """Save what of lines (by key) no change may credit any more: all of a voided one; less than zero gives it back."""
    unit.executemany(
        "INSERT INTO credit_note_line (note_id, position, line_key, description, quantity, amount, tax, taxes) VALUES (?,?,?,?,?,?,?,?)",
        [(invoice_id, n, key, "", None, amount, 0, "") for n, (key, amount) in enumerate(taken.items(), 1)],
    )


def proration_credits(unit: Unit, lines: Sequence[Line]) -> list[Line]:
    """Return what changes credited of *lines* on finalized invoices that stand; few lines, of few contracts."""
    keys, since = {line.key for line in lines}, dict[str, str]()
    for line in lines:
        first = line.start.isoformat()
        since[line.contract_id] = min(first, since.get(line.contract_id, first))
    standing = "invoice_id IN (SELECT id FROM invoice WHERE id = invoice_id AND status NOT IN ('draft', 'void'))"
    where = f"contract_id=? AND service_end>? AND credits IS NOT NULL AND {standing}"
    return [line for found in since.items() for line in store.lines_where(unit, where, found) if line.credits in keys]

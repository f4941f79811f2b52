"""Which deals are billed through another one: an opportunity, and its quotes, through the orders that were made of it (decision D-01).

An order is a deal of its own. As long as one of an opportunity's orders is activated, or its contract stands, the opportunity decides
nothing and says "Billed through order 00000123". One that was billed before its order came keeps its contract (what is settled never
moves), and the order is parked with its name. So whichever is read first, there is one contract. Worked example: the opportunity is won and billed on Monday, its
order activated on Tuesday: the order waits and says so; the opportunity is set back before anything was invoiced: the order is billed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlmodel import Field, Index

from connector.ports import Unit
from connector.sync.ledger import Deal, Ledger, deals, marks

_AT_ONCE = 400


class CoveredRow(Ledger, table=True):
    """A deal and the *holder* that it is, or once was, billed through; whether it still is, the holder's records and contract say."""

    __tablename__ = "covered"
    __table_args__ = (Index("covered_holder", "holder"),)
    deal: str = Field(primary_key=True)
    holder: str = Field(primary_key=True)


def note(unit: Unit, found: Sequence[tuple[str | None, str]]) -> None:
    """Keep (deal, holder) pairs, forget what a holder said before, and look at the deals again; deal None: it holds none."""
    unit.executemany("DELETE FROM covered WHERE holder = ? AND deal <> ?", [(holder, deal or "") for deal, holder in found])
    pairs = [(deal, holder) for deal, holder in found if deal is not None]
    unit.executemany("INSERT INTO covered (deal, holder) VALUES (?,?) ON CONFLICT (deal, holder) DO NOTHING", pairs)
    unit.executemany("UPDATE deal SET apply_due = 1, attempts = 0, next_try_at = NULL, write_due = 1 WHERE name = ?", [(d,) for d, _ in pairs])


def holders(unit: Unit, names: Sequence[str]) -> dict[str, list[Deal]]:
    """Return, by deal, the deals that these are billed through now, in order of name."""
    sql = (
        "SELECT c.deal, c.holder FROM covered c JOIN deal d ON d.name = c.holder WHERE c.deal IN ({}) AND d.state <> 'skipped' AND"
        " ((d.contract_id IS NOT NULL AND d.is_withdrawn = 0) OR EXISTS (SELECT 1 FROM record r WHERE r.deal = c.holder AND r.condition = 'won'))"
        " ORDER BY c.deal, c.holder"
    )
    pairs = [(row[0], row[1]) for part in _parts(names) for row in unit.query(sql.format(marks(part)), part)]
    known = _deals(unit, [holder for _, holder in pairs])
    found: dict[str, list[Deal]] = {}
    for deal, holder in pairs:
        found.setdefault(deal, []).append(known[holder])
    return found


def covered(unit: Unit, names: Sequence[str]) -> dict[str, Deal]:
    """Return, by holder, the deal that it is billed in place of, where the ledger knows it."""
    sql = "SELECT c.holder, c.deal FROM covered c JOIN deal d ON d.name = c.deal WHERE c.holder IN ({}) ORDER BY c.holder, c.deal"
    pairs = [(row[0], row[1]) for part in _parts(names) for row in unit.query(sql.format(marks(part)), part)]
    known = _deals(unit, [deal for _, deal in pairs])
    return {holder: known[deal] for holder, deal in pairs}


def places(unit: Unit, names: Sequence[str]) -> dict[str, str]:
    """Return, by holder, the name of the deal that it is billed in place of, whether or not the ledger knows that one."""
    sql = "SELECT holder, deal FROM covered WHERE holder IN ({})"
    return {row[0]: row[1] for part in _parts(names) for row in unit.query(sql.format(marks(part)), part)}


def _deals(unit: Unit, names: Sequence[str]) -> dict[str, Deal]:
    wanted = sorted(set(names))
    return {name: deal for part in _parts(wanted) for name, deal in deals(unit, part).items()}


def _parts(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[i : i + _AT_ONCE] for i in range(0, len(names), _AT_ONCE))

"""The fourth pass: what became of each deal goes back to its CRM records, the account and one row an invoice.

Equal values are not written again: a digest of what was last written stands in the ledger, without the time of writing
(decision D-09). A thousand deals are three calls of five times 200 records. Each record is judged alone: a lock is tried
again later, a validation rule of the customer's is kept as a problem of the deal, the other records are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from connector.core.money import major
from connector.errors import ConnectorError, Problem, Where
from connector.offers import QuoteView
from connector.ports import Command, Condition, InvoiceView, Standing, Unit, Upsert, Written
from connector.sync import covering, ledger, merges, quoting
from connector.sync.adding_up import DIFFERS
from connector.sync.fitting import fitted
from connector.sync.ledger import Deal, Record
from connector.sync.mapper import desired_of, digests_of, read_ones
from connector.sync.messages import Words, status_word
from connector.sync.quote_words import QuoteWords
from connector.sync.quoting import QuotesByRecord
from connector.sync.seam import Seam, Tally

_SYNCED_AT = "synced_at"
_LONGEST_URL = 255  # signs of a field of type URL in Salesforce
_FIRST_WAIT_S = 30
_LONGEST_WAIT_S = 3600
_RIGHTS = frozenset(("crm-field-read-only", "crm-field-hidden", "crm-object-hidden", "crm-no-access"))
_RIGHTS_WAIT_S = 900
_LONGER = "Let an administrator lengthen the field; what did not fit is missing on the record only."
_INVOICE = "Billing_Invoice__c"
# What a contract's status words become on the quote that made it (deals.md section 6).
_STANDS = frozenset(("Scheduled", "Trialing", "Active", "Paused", "Past due", "Unpaid", "Canceled", "Completed", "Draft"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One CRM record to write, for one deal; *values* by CRM field, *digest* without the time of writing.

    is_other - the record does not speak for its deal; *problem* is what a person must settle about it. cut - fields too short for their text.
    """

    deal: str
    upsert: Upsert
    key: tuple[str, str]
    digest: str
    is_other: bool = False
    problem: Problem | None = None
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    """What every row of one pass is made with; *told* are the (object, id) of records that were written before."""

    seam: Seam
    unit: Unit
    words: Words
    now: datetime
    quotes: QuotesByRecord
    quote_words: QuoteWords
    told: AbstractSet[tuple[str, str]] = frozenset()


def write_back(seam: Seam, tally: Tally) -> bool:
    """Tell the CRM about one chunk of deals; return whether more wait."""
    now = seam.now()
    with seam.database.read() as unit:
        due = ledger.due_for_write(unit, ledger.iso(now), seam.settings.write_records)
        if not due:
            return False
        rows, broken = _rows_of_sound(seam, unit, due, now)
        known: dict[tuple[str, str], str] = ledger.written_digests(unit, [r.key for r in rows])
    new = [r for r in rows if known.get(r.key) != r.digest]
    if new:
        with seam.database.transaction() as unit:
            unit.executemany(
                "UPDATE deal SET write_attempts = write_attempts + 1 WHERE name = ?", [(n,) for n in {r.deal for r in new}]
            )
    for row in new:
        if row.cut:
            seam.log("text.shortened", object=row.key[0], record_id=row.key[1], field=", ".join(row.cut), hint=_LONGER)
    results = seam.crm.write([r.upsert for r in new]) if new else []
    _save(seam, [d for d in due if d.name not in broken], new, results, now)
    if broken:
        tally.internal_errors += len(broken)
        with seam.database.transaction() as unit:
            ledger.save_written(unit, [replace(d, write_due=False, write_problem=broken[d.name]) for d in due if d.name in broken])
    others = [(r.problem, *r.key) for r in rows if r.is_other]
    if others:
        with seam.database.transaction() as unit:
            ledger.save_record_problems(unit, others)
    tally.written += sum(r.id is not None for r in results) + _write_on_accept(seam, due, now)
    seam.progress("written", len(due))
    return len(due) == seam.settings.write_records


def _save(seam: Seam, due: Sequence[Deal], rows: Sequence[_Row], results: Sequence[Written], now: datetime) -> None:
    """Keep what was written, and how each deal's writing ended."""
    failed: dict[str, list[Written]] = {}
    for row, result in zip(rows, results, strict=True):
        if result.id is None:
            failed.setdefault(row.deal, []).append(result)
    with seam.database.transaction() as unit:
        written = [(row, r) for row, r in zip(rows, results, strict=True) if r.id is not None]
        ledger.save_written_rows(
            unit, [(*row.key, row.digest, row.upsert.values) for row, _ in written], ledger.iso(now)
        )
        ledger.save_written(unit, [_ended(deal, failed.get(deal.name, ()), now) for deal in due])
        ledger.note(
            unit,
            [(name, "write_back", "failed", (r[0].problem.message if r[0].problem else "")) for name, r in failed.items()],
            ledger.iso(now),
        )


def _write_on_accept(seam: Seam, due: Sequence[Deal], now: datetime) -> int:
    """Write what the configuration wants on records whose quote was accepted by page or command, once; return how many."""
    if not seam.settings.quotes_on_accept:
        return 0
    with seam.database.read() as unit:
        wanted = quoting.on_accept(seam, quoting.quotes_of(seam, unit, [d.name for d in due]))
        rows = [_Row(deal=n, upsert=u, key=(u.object, key), digest=ledger.digest(u.values)) for n, key, u in wanted]
        known = ledger.written_digests(unit, [r.key for r in rows])
    new = [r for r in rows if r.key not in known]
    if not new:
        return 0
    results = seam.crm.write([r.upsert for r in new])
    failed = {row.deal for row, result in zip(new, results, strict=True) if result.id is None}
    _save(seam, [d for d in due if d.name in failed], new, results, now)
    return sum(r.id is not None for r in results)


def _ended(deal: Deal, failures: Sequence[Written], now: datetime) -> Deal:
    if not failures:
        state = "written" if deal.state == "applied" else deal.state
        return replace(
            deal, state=state, write_due=False, write_attempts=0, write_next_try_at=None, write_problem=None
        )
    permanent = next((f.problem for f in failures if not f.is_transient), None)
    if permanent is not None and permanent.code in _RIGHTS:  # an administrator gives the right back and tells nobody (P21)
        again = ledger.iso(now + timedelta(seconds=_RIGHTS_WAIT_S))
        return replace(deal, write_due=True, write_problem=permanent, write_next_try_at=again)
    if permanent is not None:
        return replace(deal, write_due=False, write_problem=permanent, write_next_try_at=None)
    wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(deal.write_attempts, 10))
    return replace(
        deal, write_due=True, write_problem=failures[0].problem, write_next_try_at=ledger.iso(now + timedelta(seconds=wait_s))
    )


# ---------------------------------------------------------------- what to write


def _rows_of_sound(
    seam: Seam, unit: Unit, due: Sequence[Deal], now: datetime
) -> tuple[list[_Row], dict[str, Problem]]:
    """Return the rows of the deals, and the deals whose rows our own bug keeps from being made: found by halves (D-17)."""
    try:
        return _rows(seam, unit, due, now), {}
    except ConnectorError:
        raise
    except Exception as error:  # noqa: BLE001 - any other error is our bug in one of these deals: isolate it
        if len(due) == 1:
            problem = ledger.internal_error(error, due[0].name)
            seam.log("record.parked", record_id=due[0].name, error=f"{type(error).__name__}: {error}", hint=problem.hint)
            return [], {due[0].name: problem}
    middle = len(due) // 2
    rows, broken = _rows_of_sound(seam, unit, due[:middle], now)
    more, further = _rows_of_sound(seam, unit, due[middle:], now)
    return rows + [r for r in more if r.key not in {k.key for k in rows}], broken | further


def _rows(seam: Seam, unit: Unit, due: Sequence[Deal], now: datetime) -> list[_Row]:
    names = [d.name for d in due]
    shown, holders = _shown(unit, due)
    billed = {d.name for d in (*due, *(h for found in holders.values() for h in found)) if d.contract_id}
    standings = seam.billing.standings(sorted(billed), unit, now)
    words = Words(seam.settings.language, now.astimezone(ZoneInfo(seam.settings.timezone)).date())
    quotes = quoting.quotes_of(seam, unit, names)
    telling = _Telling(seam=seam, unit=unit, words=words, now=now, quotes=quotes, quote_words=quoting.words_of(seam, now))
    rows: list[_Row] = []
    accounts: set[str] = set()
    records = _records_of(unit, [d.name for d in shown])
    asides = [(r.object, r.id) for d in shown for r in records.get(d.name, ()) if not _speaks(d, r) and r.condition != "won"]
    telling = replace(telling, told=ledger.written_digests(unit, asides).keys())
    for deal in shown:
        standing = standings.get(deal.name)
        counted = quoting.conditions(seam, records.get(deal.name, ()), quotes)
        for record in records.get(deal.name, []):
            held = holders.get(deal.name)
            if held:
                made = _held_row(telling, held, record, standings, counted[record.id])
                made = replace(made, deal=deal.name if deal.name in names else held[0].name) if made is not None else None
            else:
                made = _record_row(telling, deal, record, standing, counted[record.id])
            rows += [made] if made is not None else []
        if standing is not None and deal.account and deal.account not in accounts and not deal.is_withdrawn:
            accounts.add(deal.account)
            rows += _account_rows(seam, deal, standing, now)
    owners = {**{d.account: d for d in due if d.account}, **{d.name: d for d in due}}
    invoices = seam.billing.changed_invoices([d.name for d in due if d.contract_id], unit)
    others = sorted({i.deal for i in invoices if i.deal} - records.keys())
    records |= _records_of(unit, others)
    gone = {r.id for found in records.values() for r in found if r.is_deleted}
    places = covering.places(unit, sorted({i.deal for i in invoices if i.deal}))
    merged = merges.masters(unit, {i.account for i in invoices})
    for invoice in invoices:
        opportunity = _opportunity(invoice.deal) or _opportunity(places.get(invoice.deal or ""))
        told = replace(invoice, account=merged.get(invoice.account, invoice.account))
        rows += _invoice_rows(seam, owners, told, now, opportunity if opportunity not in gone else None)
    return rows


def _records_of(unit: Unit, names: Sequence[str]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for start in range(0, len(names), 500):
        found |= ledger.records_of_deals(unit, names[start : start + 500], with_values=False)
    return found


def _shown(unit: Unit, due: Sequence[Deal]) -> tuple[list[Deal], dict[str, list[Deal]]]:
    """Return the deals whose records show something of *due*, and by deal those that it is billed through: an opportunity shows its order."""
    covered = covering.covered(unit, [d.name for d in due])
    shown = list({d.name: d for d in (*covered.values(), *due)}.values())
    holders = covering.holders(unit, [d.name for d in shown if d.contract_id is None or d.is_withdrawn])
    told = {d.name for d in due}
    return [d for d in shown if d.name in told or d.name in holders], holders


def _held_row(
    telling: _Telling, holders: Sequence[Deal], record: Record, standings: Mapping[str, Standing], counted: Condition
) -> _Row | None:
    """Return what stands on a record whose deal is billed through others, as an opportunity is through its orders (decision D-01)."""
    target = _target(telling.seam, record.object, record.object)
    if not target.fields or record.is_deleted or ("won" not in (record.condition, counted) and (record.object, record.id) not in telling.told):
        return None
    first = holders[0]
    values = _values(first, standings.get(first.name), telling.words, telling.seam.settings.public_url)
    label, what = ", ".join(h.label for h in holders), (first.owner_object or "Order").lower()
    values |= {"message": f"{telling.words.say('elsewhere', what=what, label=label)} {values.get('message', '')}".strip()}
    if record.object == "Quote" and values.get("status") in _STANDS:
        values["status"] = "Accepted"
    values[_SYNCED_AT] = telling.now.replace(microsecond=0)
    return _row(first.name, target, record.id, values, {"id": record.id, "group": record.account or first.account or ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """What is written of one object: {CRM field: source name}, and how many characters the fields hold."""

    object: str
    fields: Mapping[str, str]
    lengths: Mapping[str, int]


def _target(seam: Seam, object_name: str, own: str) -> _Target:
    """Return what is written of an object, by the newest mapping of *own*'s source; no field where it writes none."""
    for source in seam.sources:
        if source.object == own:
            fields = source.compiled.write_back.get(object_name, {})
            return _Target(object=object_name, fields=fields, lengths=source.lengths.get(object_name, {}))
    return _Target(object=object_name, fields={}, lengths={})


def _row(deal: str, target: _Target, key: str, values: Mapping[str, Any], how: Mapping[str, Any]) -> _Row:
    """Return a row with the CRM fields filled from *values* by source name; a text that is too long is cut."""
    chosen = {field: values.get(name) for field, name in target.fields.items()}
    chosen, cut = fitted(chosen, target.fields, target.lengths)
    compared = {field: value for field, value in chosen.items() if target.fields[field] != _SYNCED_AT}
    return _Row(
        deal=deal,
        upsert=Upsert(object=target.object, values=chosen, **how),
        key=(target.object, key),
        digest=ledger.digest(compared),
        cut=cut,
    )


def _record_row(telling: _Telling, deal: Deal, record: Record, standing: Standing | None, counted: Condition) -> _Row | None:
    seam = telling.seam
    target = _target(seam, record.object, record.object)
    if not target.fields or record.is_deleted:
        return None
    problem: Problem | None = None
    quote = telling.quotes.get(record.id)
    offered = _offered(telling, deal, record, quote, counted)
    values: dict[str, Any] = offered or {}
    if offered is not None:
        pass
    elif _speaks(deal, record) or (deal.owner_record is None and record.condition == "won"):
        values = _values(deal, standing, telling.words, seam.settings.public_url)
        values |= _with_note(values, record) if standing is not None else {}
    elif "won" in (record.condition, counted):
        values, problem = _other_values(telling, deal, record, standing)
    elif (record.object, record.id) not in telling.told:
        return None  # never a deal: what once stood on a record is cleared, nothing is put on the others
    if record.object == "Quote" and offered is None and values.get("status") in _STANDS:
        values["status"] = "Accepted"
    if quote is not None:
        values = telling.quote_words.values(quote, url=quoting.page_url(seam, quote)) | values
    values[_SYNCED_AT] = telling.now.replace(microsecond=0)
    how = {"id": record.id, "group": record.account or deal.account or ""}
    row = _row(deal.name, target, record.id, values, how)
    return replace(row, is_other=offered is None and not _speaks(deal, record) and deal.owner_record is not None, problem=problem)


def _with_note(values: Mapping[str, Any], record: Record) -> dict[str, str]:
    """Return the message with what is only to be known about the record: its lines do not add up to what it says."""
    notes = [p.message for p in record.problems if p.code == DIFFERS]
    return {"message": " ".join((str(values["message"]), *notes))} if notes and values.get("message") else {}


def _offered(telling: _Telling, deal: Deal, record: Record, quote: QuoteView | None, counted: Condition) -> dict[str, Any] | None:
    """Return what stands on a record whose quote says more than its deal does, None where the deal speaks."""
    is_billed = deal.contract_id is not None and not deal.is_withdrawn
    if is_billed and (_speaks(deal, record) or "won" in (record.condition, counted)):
        return None
    if record.condition == "won" and counted == "won":
        return None
    problem = deal.problem if counted == "won" else record.problems[0] if record.problems else None
    if problem is not None and record.condition in ("open", "preview"):
        return {"status": "Needs attention", "message": telling.words.why(problem)}
    return None if quote is None else telling.quote_words.shown(quote, waits=record.condition == "won")


def _speaks(deal: Deal, record: Record) -> bool:
    return (deal.owner_object, deal.owner_record) == (record.object, record.id)


def _values(deal: Deal, standing: Standing | None, words: Words, public_url: str) -> dict[str, Any]:
    """Return what stands on the record that speaks for the deal, by source name."""
    if deal.state == "idle" and deal.contract_id is None:
        return {}
    if deal.state == "skipped" and deal.problem is not None:
        return {"status": "Withdrawn", "message": words.why(deal.problem)}
    if deal.is_withdrawn and deal.state not in ("parked", "waiting"):
        return {"status": "Withdrawn", "message": words.say("withdrawn")}
    standing = None if deal.is_withdrawn else standing
    values = _amounts(standing, public_url) if standing is not None else {}
    if standing is not None:
        assumed = f" {words.say('assumed', notes=deal.notes)}" if deal.notes else ""
        values |= {"status": status_word(standing), "message": words.of(standing) + assumed}
    problem = deal.problem or (standing.problem if standing is not None else None)
    if deal.state == "waiting":
        values |= {"status": "Blocked" if deal.wait_for is not None else "Queued"}
    elif problem is not None or (standing is not None and standing.surprises):
        values |= {"status": "Needs attention"}
    elif standing is None or standing.is_queued:
        values |= {"status": "Queued", "message": words.say("queued")}
    if problem is not None:
        values |= {"message": words.why(problem)}
    return values


def _amounts(standing: Standing, public_url: str) -> dict[str, Any]:
    def money(minor: int | None) -> Any:
        return None if minor is None else major(minor, standing.currency)

    last = standing.last
    values: dict[str, Any] = {
        "contract_id": standing.contract_id,
        "customer_id": standing.customer_id,
        "next_invoice_date": standing.next_on,
        "next_invoice_amount": money(standing.next_amount),
        "last_invoice_number": last.number if last else None,
        "last_invoice_status": last.status.title() if last else None,
        "last_invoice_url": invoice_url(public_url, last) if last else None,
        "contract_value": money(standing.value),
    }
    if not standing.is_change:
        values |= {
            "amount_billed": money(standing.billed),
            "amount_paid": money(standing.paid),
            "amount_due": money(standing.due),
            "annual_value": money(standing.annual_value),
            "starts_on": standing.starts_on,
            "ends_on": standing.ends_on,
        }
    return values


def _other_values(
    telling: _Telling, deal: Deal, record: Record, standing: Standing | None
) -> tuple[dict[str, Any], Problem | None]:
    """Return what stands on a record of a deal that is billed through another record (decision D-01), and what is wrong with it."""
    seam, words = telling.seam, telling.words
    values = _values(deal, standing, words, seam.settings.public_url)
    what, label = (deal.owner_object or "").lower(), quoting.name_of(deal, telling.quotes)
    if record.object == deal.owner_object:
        text = words.say("second", what=what, label=label)
        values = {"status": "Needs attention", "contract_id": deal.contract_id, "message": text}
        return values, Problem(code="second-record", message=text, where=Where(object=record.object, record=record.id))
    text = words.say("elsewhere", what=what, label=label)
    differs = _difference(telling, deal, record, standing)
    if differs is not None and standing is not None:
        ours, theirs = words.money(standing.value, standing.currency), words.money(differs, standing.currency)
        text = words.say("differs", what=what, label=label, ours=ours, theirs=theirs)
        values |= {"status": "Needs attention", "message": text}
        return values, Problem(code="other-terms", message=text, where=Where(object=record.object, record=record.id))
    return values | {"message": f"{text} {values.get('message', '')}".strip()}, None


def _difference(telling: _Telling, deal: Deal, record: Record, standing: Standing | None) -> int | None:
    """Return the contract value that the other record asks for, in minor units, where its terms differ from what stands."""
    seam, unit = telling.seam, telling.unit
    full = next(
        (r for r in ledger.records_of_deals(unit, [deal.name], with_values=True).get(deal.name, []) if r.id == record.id), None
    )
    if full is None or not read_ones(seam, [full]) or standing is None or standing.is_change or (full.fields or {}).get("SyncedQuoteId"):
        return None
    desired = desired_of(seam, full, deal).desired
    if desired is None or desired.terms is None or digests_of(desired).terms == deal.applied_terms:
        return None
    command = Command(
        key="preview",
        kind="create",
        deal=f"preview of {record.id}",
        label=desired.label,
        customer=desired.customer,
        how=desired.how,
        terms=desired.terms,
    )
    return seam.billing.preview(command, unit, telling.now).value


def _account_rows(seam: Seam, deal: Deal, standing: Standing, now: datetime) -> list[_Row]:
    target = _target(seam, "Account", deal.owner_object or "")
    if not target.fields or not deal.account:
        return []
    token, url = standing.portal_token, seam.settings.public_url
    values = {"customer_id": standing.customer_id, "portal_url": portal_url(url, token) if token else None, _SYNCED_AT: now.replace(microsecond=0)}
    return [_row(deal.name, target, deal.account, values, {"id": deal.account, "group": deal.account})]


def _invoice_rows(
    seam: Seam, owners: Mapping[str, Deal], invoice: InvoiceView, now: datetime, opportunity: str | None
) -> list[_Row]:
    """Return the row of an invoice; *opportunity*: of its deal, None where it is deleted, since the CRM lets no lookup point to it."""
    deal = owners.get(invoice.deal or invoice.account)  # one of several deals, or of none, is told with one of its account
    own = deal.owner_object if deal and any(s.object == deal.owner_object for s in seam.sources) else None
    own = own or seam.sources[0].object
    target = _target(seam, _INVOICE, own)
    if not target.fields:
        return []
    values = {
        "invoice_id": invoice.id,
        "number": invoice.number,
        "status": invoice.status.title(),
        "type": "Credit note" if invoice.is_note else "Invoice",
        "contract_id": invoice.contract_id or None,
        "issued_on": invoice.issued_on,
        "due_on": invoice.due_on,
        "total": major(invoice.total, invoice.currency),
        # what is open, as on the deals (deals.md section 5)
        "amount_due": major(invoice.amount_due - invoice.amount_paid if invoice.status == "open" else 0, invoice.currency),
        "amount_paid": major(invoice.amount_paid, invoice.currency),
        "paid_on": invoice.paid_on,
        "currency": invoice.currency.upper(),
        "url": invoice_url(seam.settings.public_url, invoice),
        "opportunity": opportunity,
        "account": invoice.account,
        _SYNCED_AT: now.replace(microsecond=0),
    }
    key_field = next((f for f, name in target.fields.items() if name == "invoice_id"), "Billing_Invoice_Id__c")
    others = replace(target, fields={field: name for field, name in target.fields.items() if field != key_field})
    if seam.org.is_multi_currency:  # what is typed on the row is in its currency, too (decision D-09)
        others = replace(others, fields={**others.fields, "CurrencyIsoCode": "currency"})
    how = {"key_field": key_field, "key": invoice.id, "group": invoice.account}
    told = deal.name if deal else (invoice.deal or next(iter(owners)))
    return [_row(told, others, invoice.id, values, how)]


def _opportunity(deal: str | None) -> str | None:
    """Return the deal's name where it is an Opportunity's id (its key prefix is 006)."""
    return deal if deal is not None and deal.startswith("006") else None


def invoice_url(public_url: str, invoice: InvoiceView) -> str | None:
    """Return the address of an invoice's page: the backend's own where it has one that fits the CRM's field, else ours; None for a draft."""
    if invoice.url and len(invoice.url) <= _LONGEST_URL:
        return invoice.url
    return f"{public_url.rstrip('/')}/i/{invoice.token}" if invoice.token else None


def portal_url(public_url: str, token: str) -> str:
    """Return the address of a customer's portal."""
    return f"{public_url.rstrip('/')}/portal/{token}"

"""What the command line prints: results as plain aligned text for people, or as JSON for machines. No logic of its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any

from connector.core.money import major


def json_text(value: Any) -> str:
    """Return a result as JSON: dataclasses as objects, dates as ISO text, Decimals as numbers where exact, else as text."""
    return json.dumps(value, default=_plain, ensure_ascii=False, indent=2)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value)


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[int] = ()) -> str:
    """Return aligned columns; those whose index is in *right* are aligned to the right."""
    texts = [[str("" if cell is None else cell) for cell in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(headings), *texts]) for i in range(len(headings))]
    to_right = set(right)

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if i in to_right else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(headings)), line(["-" * w for w in widths]), *(line(r) for r in texts)]) + "\n"


def plain(result: Any) -> str:
    """Return a one-line result as it is."""
    return str(result["text"])


def init_text(result: Mapping[str, Any]) -> str:
    """Return what `init` wrote, and what to do next."""
    lines = [f"wrote {name}" for name in result["written"]] + [f"kept  {name} (it exists)" for name in result["kept"]]
    return "\n".join([*lines, "", "Next: edit config.yaml, then `connector check`, `connector plan --record ID`, `connector run`."])


def _problem_lines(problems: Sequence[Mapping[str, Any]], most: int = 50) -> list[str]:
    lines = [f"  {p.get('record') or ''} {p['code']}: {p['message']} {p['hint']}".rstrip() for p in problems[:most]]
    if len(problems) > most:
        lines.append(f"  … and {len(problems) - most} more (connector deals list --state parked)")
    return lines


def sync_text(result: Mapping[str, Any]) -> str:
    """Return the summary of a sync."""
    counts = ", ".join(f"{result[k]} {k}" for k in ("staged", "mapped", "applied", "written", "waiting", "parked"))
    compared = [f"Compared with the CRM: {result['sweep']}."] if "sweep" in result else []
    compared += [f"Compared with Stripe: {result['compared_there']}."] if "compared_there" in result else []
    return "\n".join([f"{counts}; {result['api_calls']} CRM calls", *compared, *_problem_lines(result["problems"])])


def bill_text(result: Mapping[str, Any]) -> str:
    """Return the summary of a billing run."""
    head = f"{result['invoices']} invoices with {result['lines']} lines for {result['contracts']} contracts"
    if result["drafts"]:
        head += f"; {result['drafts']} wait as drafts (the CRM was not read for too long)"
    for key, word in (("paid", "charged"), ("failed", "charges failed"), ("steps", "unpaid invoices followed up"), ("mailed", "mails sent"),
                      ("mails_failed", "mails failed"), ("mails_waiting", "mails to be tried again")):
        head += f"; {result[key]} {word}" if result[key] else ""
    told = f"{result['written']} CRM records written, {result['api_calls']} CRM calls"
    return "\n".join([f"{head}; {told}", *_problem_lines(result["problems"])])


def plan_text(result: Mapping[str, Any]) -> str:
    """Return what a record would do, as three small tables."""
    parts = [f"{result['label']} ({result['object']} {result['record']})", f"Decision: {result['decision']}", ""]
    if result["values"]:
        parts.append(table(("field", "source", "value"), [(v["target"], v["source"], v["value"]) for v in result["values"]]))
    for invoice in result["invoices"]:
        parts.append(f"Invoice on {invoice['on']}, due {invoice['due_on'] or 'at once'}, total {invoice['total']}")
        rows = [(x["description"], x["quantity"], x["start"], x["end"], x["amount"]) for x in invoice["lines"]]
        parts.append(table(("line", "quantity", "from", "to", "amount"), rows, right=(1, 4)))
    parts += [f"More invoices follow: these are the first {len(result['invoices'])}."] if result["more_follow"] else []
    parts += [result["note"]] if result["note"] and result["invoices"] else []
    parts += held_lines(result["held"])
    parts += _problem_lines(result["problems"])
    return "\n".join(parts)


def held_lines(held: Mapping[str, Any] | None) -> list[str]:
    """Return how a billing service will hold a deal, in three lines at most."""
    if held is None:
        return []
    found = held["subscriptions"]
    count = f"{len(found) or 'no'} subscription{'s' if len(found) > 1 else ''}"
    lines = [f"On {held['at']}: {count}{': ' if found else ''}{'; '.join(_subscription(s) for s in found)}."]
    lines += [f"Billed by items of the connector: {'; '.join(held['by_connector'])}."] if held["by_connector"] else []
    return lines + ([f"Not shown on {held['at']}: {'; '.join(held['not_shown'])}."] if held["not_shown"] else [])


def _subscription(row: Mapping[str, Any]) -> str:
    days = f"from {row['starts_on']}" + (f" until {row['ends_on']}" if row["ends_on"] else "")
    ahead = f", billed in advance to {row['billed_ahead_to']}" if row["billed_ahead_to"] else ""
    phases = f", {row['phases']} phases" if row["phases"] > 1 else ""
    return f"{row['every']} {days}{phases}{ahead}"


def check_lines(result: Mapping[str, Any]) -> str:
    """Return one line a finding, worst first: the state, the check, what is wrong and where, and the fix."""
    lines = [f"{_STATE[c['state']]:<4} {c['name']}: {_place(c['where'])}{c['message']} {c['hint']}".rstrip() for c in _worst_first(result)]
    return "\n".join([*lines, _check_sum(result)])


def check_table(result: Mapping[str, Any]) -> str:
    """Return the findings as a table for a terminal, worst first, texts wrapped to its width and the fix below what is wrong."""
    width = shutil.get_terminal_size().columns
    wide = max(len(c["name"]) for c in result["checks"])
    room = max(40, width - wide - 9)
    out = []
    for c in _worst_first(result):
        state, name, text = _STATE[c["state"]], c["name"], f"{_place(c['where'])}{c['message']}"
        if len(name) > wide:  # several checks
            name, text = "", f"{text} ({name})"
        head = f"\033[{_COLOURS[c['state']]}m{state:<4}\033[0m  {name:<{wide}}  "
        told = textwrap.wrap(text, room, break_on_hyphens=False)
        told += [f"-> {line}" if n == 0 else f"   {line}" for n, line in enumerate(textwrap.wrap(c["hint"], room - 3, break_on_hyphens=False))]
        out += [head + told[0], *(" " * (wide + 8) + line for line in told[1:])]
    return "\n".join([*out, "", _check_sum(result)])


_STATE = {"fail": "FAIL", "warn": "warn", "skip": "skip", "ok": "ok"}
_COLOURS = {"fail": "1;31", "warn": "33", "skip": "2", "ok": "32"}


def _worst_first(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the findings, worst first; checks that were not made for one reason share a line."""
    rows: dict[Any, Mapping[str, Any]] = {}
    for number, c in enumerate(result["checks"]):
        key = c["message"] if c["state"] == "skip" else number
        names = f"{rows[key]['name']}, {c['name']}" if key in rows else c["name"]
        rows[key] = {**c, "name": names}
    return sorted(rows.values(), key=lambda c: list(_STATE).index(c["state"]))


def _place(where: Mapping[str, Any]) -> str:
    place = ":".join(str(where[k]) for k in ("file", "line", "column") if k in where)
    return f"{place}: " if place else ""


def _check_sum(result: Mapping[str, Any]) -> str:
    counts = result["counts"]
    words = ((counts["fail"], "failed"), (counts["warn"], "to look at"), (counts["skip"], "not checked"), (counts["ok"], "fine"))
    return ", ".join(f"{n} {word}" for n, word in words if n) + "."


def deals_text(result: Sequence[Mapping[str, Any]]) -> str:
    """Return the deals as a table."""
    rows = [(d["deal"], d["label"], d["action"], d["state"], d["contract"], d["message"]) for d in result]
    return table(("deal", "name", "action", "state", "contract", "message"), rows)


def deal_text(result: Mapping[str, Any]) -> str:
    """Return one deal with its history."""
    head = [f"{key}: {value}" for key, value in result.items() if key not in ("history", "records") and value not in (None, "")]
    records = [f"  {r['object']} {r['record']}: {r['condition']}, version {r['version']}, mapping {r['mapping']}" for r in result["records"]]
    rows = [(h["at"], h["step"], h["outcome"], h["detail"]) for h in result["history"]]
    return "\n".join([*head, "records:", *records, "", table(("at", "step", "outcome", "detail"), rows)])


def invoices_text(result: Sequence[Mapping[str, Any]]) -> str:
    """Return invoices as a table."""
    keys = ("number", "status", "customer", "issued_on", "due_on", "total", "amount_due", "currency")
    return table(keys, [[i[k] for k in keys] for i in result], right=(5, 6))


def invoice_text(result: Mapping[str, Any]) -> str:
    """Return one invoice with its lines, and what was tried to get it paid."""
    head = [f"{k}: {v}" for k, v in result.items() if k not in ("lines", "payments", "followed_up", "parts", "history") and v not in (None, "")]
    head += [f"of it {p['name']}: {p['billed']} billed, {p['paid']} paid, {p['due']} due (contract {p['contract']})" for p in result["parts"]]
    rows: list[tuple[str, ...]] = []
    for x in result["lines"]:
        rows += [(f"{x['group']}:", "", "", "", "", "")] if x.get("group") else []
        rows.append((x["description"], x["quantity"], x["period"], x["amount"], x["discount"], x["tax"]))
    parts = [*head, "", table(("line", "quantity", "period", "amount", "discount", "tax"), rows, right=(1, 3, 4, 5))]
    if result.get("payments"):
        arrived = [(p["on"], p["amount"], p["method"].replace("_", " "), p["reference"]) for p in result["payments"]]
        parts += ["", table(("paid on", "payment", "method", "reference"), arrived, right=(1,))]
    if result["followed_up"]:
        steps = [(x["on"], x["what"], x["state"], x["detail"]) for x in result["followed_up"]]
        parts += ["", table(("on", "followed up", "state", "detail"), steps)]
    return "\n".join([*parts, *_history_lines(result["history"])])


def _history_lines(history: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"  {h['at']} {h['event']} {h['invoice']}".rstrip() + f", by {h['by']}" for h in history]
    return ["history:", *lines] if lines else []


def events_text(result: Sequence[Mapping[str, Any]]) -> str:
    """Return events as a table, newest first, each with what it changed."""
    rows = [(e["seq"], e["at"], e["event"], e["by"], e["invoice"] or e["contract"] or e["customer"], _moves(e)) for e in result]
    return table(("seq", "at", "event", "by", "about", "what changed"), rows, right=(0,))


def webhooks_text(result: Mapping[str, Any]) -> str:
    """Return the addresses with their queues, and what was given up."""
    if not result["endpoints"]:
        return "No webhooks are configured; see `webhooks:` in config.example.yaml."
    keys = ("id", "address", "state", "waiting", "given_up", "delivered", "next_try_at", "error")
    parts = [table([k.replace("_", " ") for k in keys], [[e[k] for k in keys] for e in result["endpoints"]], right=(3, 4, 5))]
    if result["given_up"]:
        given_up = ("endpoint", "event_id", "event", "at", "tries", "error")
        parts.append(table([k.replace("_", " ") for k in given_up], [[e[k] for k in given_up] for e in result["given_up"]], right=(4,)))
    return "\n".join(parts)


_AMOUNTS = ("total", "amount_due", "amount_paid", "credited", "value", "annual_value")
_LONG = ("terms", "changes")


def _moves(event: Mapping[str, Any]) -> str:
    """Return what an event changed in a few words: `status open -> paid, amount_paid 0.00 -> 120.00`; long values are left to --json."""
    before, after = _flat(event["before"], event["currency"]), _flat(event["after"], event["currency"])
    told = [f"{k} {before[k]} -> {v}" if k in before else f"{k} {v}" for k, v in after.items() if before.get(k, "") != v]
    return ", ".join(told + [f"{k} (see --json)" for k in _LONG if k in event["after"]])


def _flat(facts: Mapping[str, Any], currency: str) -> dict[str, str]:
    """Return facts in one level as text, amounts in major units."""
    found: dict[str, str] = {}
    for key, value in facts.items():
        if key in _LONG:
            continue
        if key == "balance":
            found |= {f"balance {code.upper()}": str(major(amount, code)) for code, amount in value.items()}
        elif isinstance(value, Mapping):
            found |= {f"{key} {name}": str(inner) for name, inner in value.items()}
        elif key in _AMOUNTS and currency:
            found[key] = str(major(value, currency))
        elif value is not None:
            found[key] = str(value)
    return found


def customers_text(result: Sequence[Mapping[str, Any]]) -> str:
    """Return customers as a table; what is open and the balances by currency."""
    rows = [
        (c["customer"], c["name"], c["account"], c["contracts"], ", ".join(c["open"]), ", ".join(c["balance"]), "yes" if c["is_consolidated"] else "")
        for c in result
    ]
    return table(("customer", "name", "account", "contracts", "open", "balance", "one invoice"), rows, right=(3, 4, 5))


def customer_text(result: Mapping[str, Any]) -> str:
    """Return one customer: who it is, its contracts, open invoices and how its balance came to be."""
    parts = [f"{k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in result.items() if _is_plain(v)]
    for title, rows in (("contracts", result["contract_list"]), ("open invoices", result["open_invoices"]), ("balance history", result["history"])):
        if rows:
            parts += ["", f"{title}:", table(list(rows[0]), [list(row.values()) for row in rows]).rstrip()]
    return "\n".join(parts)


def _is_plain(value: Any) -> bool:
    """Whether a value is a text or a list of texts that says something."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(v, str) for v in value)
    return value not in (None, "") and not isinstance(value, bool)


def contracts_text(result: Sequence[Mapping[str, Any]]) -> str:
    """Return contracts as a table."""
    keys = ("contract", "status", "customer", "name", "starts_on", "ends_on", "value", "currency", "next_on")
    return table(keys, [[c[k] for k in keys] for c in result], right=(6,))


def contract_text(result: Mapping[str, Any]) -> str:
    """Return one contract: what stands, its items and changes."""
    head = [f"{k}: {v}" for k, v in result.items() if k not in ("items", "changes", "history") and v not in (None, "")]
    items = table(("item", "quantity", "price", "from", "to"), [list(i.values()) for i in result["items"]], right=(1, 2))
    changes = [f"  {c['effective']} {c['kind']}: {_who(c)}" for c in result["changes"]]
    return "\n".join([*head, "", items, *(["changes:", *changes] if changes else []), *_history_lines(result["history"])])


def _who(change: Mapping[str, Any]) -> str:
    """Return whose change it is: the person's who asked for it, or the deal's."""
    name = change["label"] or change["id"]
    if "asked_by" in change:
        return f"{name}, asked by {change['asked_by']} on {change['asked_on']}"
    return f"{name} ({change['id']})" if change["label"] else name


def change_text(result: Mapping[str, Any]) -> str:
    """Return what a change of a contract did or would do, and the invoices that follow."""
    out = [str(result["text"])]
    out += [f"Issued {i['number']} over {i['total']}." for i in result["issued"]]
    out.append("Invoices that follow, as things stand:" if result["invoices"] else "No invoice follows.")
    for invoice in result["invoices"]:
        out.append(f"  {invoice['on']}  {invoice['total']}")
        out += [f"    {x['start']} to {x['end']}  {x['quantity']} x {x['description']}  {x['amount']}" for x in invoice["lines"]]
    return "\n".join([*out, *held_lines(result.get("held"))])


def import_text(result: Mapping[str, Any]) -> str:
    """Return the report of an import: one line a row, then how many of each."""
    rows = [(r["row"], r["kind"], r["id"], r["result"], r["what"]) for r in result["rows"]]
    counts = ", ".join(f"{result[word]} {word}" for word in ("made", "changed", "unchanged", "refused"))
    head = "Nothing was written. This would be: " if result["dry_run"] else ""
    return table(("row", "kind", "id", "result", "what"), rows) + f"{head}{counts}."


_FOUND_BY = {"ours": "linked before", "account": "named in its metadata", "email": "found by e-mail", "name": "found by name"}


def import_line(row: Mapping[str, Any]) -> str:
    """Return one row of an import of contracts: where it stands, its id, what became of it, when it is billed next."""
    head = f"{row['row']}  {row['id'] or '(no id)'}  {row['result']}"
    if row["kind"] == "item":
        return f"{head}, with the row above"
    said = []
    if row["contract"]:
        said.append(str(row["contract"]))
    if row.get("by"):
        said.append(f"account {row['account']}, {_FOUND_BY[row['by']]}")
    if row["billed_now"]:
        number = f" with {row['billed_now']['number']}" if row["billed_now"]["number"] else ""
        said.append(f"{row['billed_now']['total']} {row['currency']} at once{number}")
    if row["next_on"]:
        said.append(f"next invoice {row['next_on']}, {row['next_amount']} {row['currency']}")
    elif row["result"] in ("made", "would be made"):
        said.append("no further invoice")
    lines = [f"{head}: {'; '.join(said)}" if said else head]
    lines += [f"  {note}" for note in row.get("notes", ())]
    for problem in row["problems"]:
        where = problem["where"]
        place = ":".join(str(p) for p in (where["file"], where["line"], where["column"]) if p)
        place = f"{place}: " if place else ""
        lines.append(f"  {place}{problem['code']}: {problem['message']} {problem['hint']}".rstrip())
    return "\n".join(lines)


def migration_line(row: Mapping[str, Any]) -> str:
    """Return one row of a price migration: the contract, what it pays today and then, from when, and the first invoice with it."""
    head = f"{row['contract']}  {row['label']}  {row['result']}"
    if not row["items"]:
        return f"{head}: {row['message']}"
    periods = dict.fromkeys(i["every"] for i in row["items"])
    every = f" every {next(iter(periods))}" if len(periods) == 1 else ""
    text = f"{head}: {row['today']} to {row['new']} {row['currency']}{every} from {row['effective_on']}"
    if row["first_invoice_on"] is None:
        return text
    return f"{text}; first invoice {row['first_invoice_on']}, {row['first_invoice_amount']} {row['currency']}"


def import_sum(counts: Mapping[str, int], *, is_dry: bool) -> str:
    """Return how many rows of an import became what."""
    text = ", ".join(f"{n} {word}" for word, n in counts.items())
    return f"{'Nothing was written. This would be: ' if is_dry else ''}{text}."


def streamed(head: Mapping[str, Any], name: str, rows: Iterable[Any], tail: Mapping[str, Any]) -> Iterator[str]:
    """Yield a JSON object with a list *name* of any length; *tail* is read once all rows have come, nothing before the first row."""
    coming = iter(rows)
    first = next(coming, None)
    yield json.dumps(dict(head), default=_plain, ensure_ascii=False)[:-1] + f', "{name}": ['
    mark = "\n"
    for row in [] if first is None else chain([first], coming):
        yield mark + json.dumps(row, default=_plain, ensure_ascii=False)
        mark = ",\n"
    yield "\n], " + json.dumps(dict(tail), default=_plain, ensure_ascii=False)[1:] + "\n"


def usage_text(result: Mapping[str, Any]) -> str:
    """Return what became of usage: the refused rows, then how many of each."""
    rows = [(r["row"], r["id"], r["what"]) for r in result["rows"] if r["result"] == "refused"]
    counts = ", ".join(f"{result[word]} {word}" for word in ("made", "unchanged", "refused"))
    head = "Nothing was written. This would be: " if result["dry_run"] else ""
    return (table(("row", "id", "refused because"), rows) if rows else "") + f"{head}{counts}."


def prices_text(result: Sequence[Mapping[str, Any]]) -> str:
    """Return the catalogue's prices as a table."""
    rows = [(p["id"], p["product"], p["price"], "" if p["active"] else "no longer sold") for p in result]
    return table(("id", "product", "price", ""), rows)


def quotes_text(result: Sequence[Mapping[str, Any]]) -> str:
    """Return quotes as a table."""
    keys = ("number", "status", "name", "customer", "due_now", "per_period", "value", "currency", "accept_until", "quote")
    return table(keys, [[q[k] for k in keys] for q in result], right=(4, 5, 6))


def quote_text(result: Mapping[str, Any]) -> str:
    """Return one quote: its first invoice, what is paid for good, its revisions."""
    hidden = ("text", "lines", "stages", "revisions", "customer_details", "first_invoice", "issued", "invoices")
    head = [str(result["text"]), ""] if "text" in result else []
    head += [f"{k.replace('_', ' ')}: {v}" for k, v in result.items() if k not in hidden and v not in (None, "")]
    keys = ("description", "quantity", "start", "end", "amount", "discount", "tax", "total")
    due = result["first_invoice"]
    parts = ["", f"First invoice{' on ' + str(result['first_invoice_on']) if result['first_invoice_on'] else ''}: {due['total']}"]
    parts.append(table(keys, [[x[k] for k in keys] for x in result["lines"]], right=(1, 4, 5, 6, 7)) if result["lines"] else "  nothing")
    for stage in result["stages"]:
        sums = ", ".join(f"{p['total']} {_each(p['interval'])}" for p in stage["periods"])
        parts.append(f"From {stage['start']}{' to ' + str(stage['end']) if stage['end'] else ''}: {sums}")
        parts += [f"  {x['quantity']} x {x['description']}, {x['total']} {_each(x['interval'])}" for x in stage["lines"]]
    parts += [f"revision {r['revision']}: {r['status']}, {r['due_now']}" for r in result.get("revisions", ()) if len(result["revisions"]) > 1]
    return "\n".join([*head, *parts])


def _each(interval: str) -> str:
    return f"every {interval}" if " " in interval else f"a {interval}"


def quote_done_text(result: Mapping[str, Any]) -> str:
    """Return what accepting a quote did or would do."""
    out = [str(result["text"]), *(f"Issued {i['number']} over {i['total']}." for i in result.get("issued", ()))]
    for invoice in result.get("invoices", ()):
        out.append(f"  {invoice['on']}  {invoice['total']}")
        out += [f"    {x['start']} to {x['end']}  {x['quantity']} x {x['description']}  {x['amount']}" for x in invoice["lines"]]
    return "\n".join(out)


def mapping_text(result: Mapping[str, Any]) -> str:
    """Return what was checked, and the warnings."""
    warned = {p.where.file for p in result["problems"]}
    lines = [f"{'warn' if name in warned else 'ok  '} {name}" for name in result["files"]]
    return "\n".join([*lines, *(f"\n{p.text()}" for p in result["problems"])])


def adopted_text(result: Mapping[str, Any]) -> str:
    """Return which billed records were moved to the newest mapping, or would be, and what follows."""
    rows = [(r["deal"], r["label"], r["from"], r["to"], r["what"]) for r in result["rows"]]
    notes = [f"{r['label']}: {r['message']}" for r in result["rows"] if r["message"]]
    return "\n".join([str(result["text"]), *([table(("deal", "name", "from", "to", "what follows"), rows)] if rows else []), *notes])


def compared_text(result: Mapping[str, Any]) -> str:
    """Return the records that two mappings read otherwise."""
    out = [str(result["text"])]
    for row in result["rows"]:
        old, new = row["value"]
        value = f", worth {new or 'nothing'} instead of {old or 'nothing'}" if old != new else ""
        out.append(f"{row['label']} ({row['record']}){value}")
        out += [f"  {v['target']}: {v['old'] or 'empty'} -> {v['new'] or 'empty'}" for v in row["values"]]
        out += [f"  {which}: {text}" for which, text in zip(("old", "new"), row["problems"], strict=True) if text]
    return "\n".join(out)


def fields_text(result: Sequence[Mapping[str, Any]]) -> str:
    """Return the fields of an object."""
    keys = ("name", "type", "label", "can_write", "note")
    return table(keys, [[f[k] for k in keys] for f in result])

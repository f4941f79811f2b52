"""The org: its records, who saves them, and the rules every save must pass.

Verbs (`create`, `update`, `upsert`, `delete`, `undelete`, `merge`) check, derive, stamp and index; they nest in
`transaction()`, of which the outermost writes the file. Reads return rows as they are stored (see values.py); callers must
not change them. Every stamp is the clock's time in whole seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Any
from zoneinfo import ZoneInfo

from connector.lookalike.crm import founding, rules
from connector.lookalike.crm.catalogue import schema
from connector.lookalike.crm.catalogue_extra import extended
from connector.lookalike.crm.checks import check_unique, read_changes
from connector.lookalike.crm.conditions import Conditions
from connector.lookalike.crm.custom import bare, together, with_deployed
from connector.lookalike.crm.faults import Faults
from connector.lookalike.crm.file import OrgFile
from connector.lookalike.crm.ids import id18, minted
from connector.lookalike.crm.keeping import Keeping
from connector.lookalike.crm.refusal import AmbiguousError, Refusal, not_found
from connector.lookalike.crm.schema import Field, ObjectType, Schema
from connector.lookalike.crm.table import Row, Table
from connector.lookalike.crm.values import instant_from_text, instant_text


def _system_time() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What else an org may be like. price_scale - decimal places of unit prices. org_number - another one is another org id.

    has_cpq - Salesforce CPQ is installed. has_codes - countries and states are picklists. formulas - fields that show what other
    fields give; objects, fields - custom ones; is_bare - the connector's fields are not there yet: they come by the Metadata API. rules - what no
    save may be like; record_locks - which records cannot be changed; knobs - of faults, from the start: docs/demo-crm.md has examples.
    """

    name: str = "Northwind Instruments"
    has_quotes: bool = True
    has_cpq: bool = False
    price_scale: int = 2
    org_number: int = 1
    is_sandbox: bool = False
    daily_limit: int = 100_000
    has_persons: bool = False
    has_codes: bool = False
    objects: tuple[str, ...] = ()
    fields: tuple[dict[str, Any], ...] = ()
    formulas: tuple[dict[str, Any], ...] = ()
    rules: tuple[dict[str, Any], ...] = ()
    record_locks: tuple[dict[str, Any], ...] = ()
    knobs: tuple[tuple[str, Any], ...] = ()
    is_bare: bool = False


_USUAL = Traits()


class Org:
    """One Salesforce-like org. currency - of the whole org, or the corporate one. path - its own SQLite file, if it is to last.

    A file that exists keeps the org id, currency mode and schema it was made with, whatever the arguments say.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = _system_time,
        path: str | Path | None = None,
        currency: str = "EUR",
        timezone: str = "UTC",
        multi_currency: bool = False,
        traits: Traits = _USUAL,
    ) -> None:
        self.clock = clock
        self.lock = RLock()
        self.faults = Faults()
        self.daily_limit = traits.daily_limit
        file = OrgFile(path) if path is not None else None
        self._settings: dict[str, Any] = {
            "org_number": traits.org_number, "currency": currency, "timezone": timezone, "multi_currency": multi_currency,
            "has_quotes": traits.has_quotes, "has_cpq": traits.has_cpq, "price_scale": traits.price_scale, "next_number": 1, "auto_numbers": {},
            "has_persons": traits.has_persons, "has_codes": traits.has_codes, "formulas": list(traits.formulas), "rules": list(traits.rules),
            "objects": list(traits.objects), "fields": list(traits.fields), "record_locks": list(traits.record_locks), "knobs": dict(traits.knobs),
            "is_bare": traits.is_bare, "deployed": {}, "labels": [],
        }  # fmt: skip
        saved = file.settings() if file else {}
        self._settings.update(saved)
        base = schema(
            multi_currency=self._settings["multi_currency"],
            has_quotes=self._settings["has_quotes"],
            price_scale=self._settings["price_scale"],
            has_cpq=self._settings["has_cpq"],
            has_persons=self._settings["has_persons"],
            has_codes=self._settings["has_codes"],
        )
        base = with_deployed(bare(base) if self._settings["is_bare"] else base, self._settings["deployed"])
        self.schema = Schema(types=tuple(extended(base.types, self._settings)))
        self.conditions = Conditions(self, rules=self._settings["rules"], locks=self._settings["record_locks"])
        self.faults.apply(self._settings["knobs"])
        self.zone = ZoneInfo(self._settings["timezone"])
        self.org_id = minted("00D", self._settings["org_number"])
        self.integration_user = minted("005", 1)
        self.rep_user = minted("005", 2)
        self.admin_user = minted("005", 3)
        self._acting = self.integration_user
        self._keeping = Keeping(self.schema, file, self._settings)
        self._tables = self._keeping.tables
        self._depth = 0
        if saved:
            self._keeping.load()
        else:
            self._found(traits)

    # -- founding and loading ---------------------------------------------------------------------------------------------

    def _found(self, traits: Traits) -> None:
        now = self.stamp()
        system = {
            "IsDeleted": False, "CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now,
            "CreatedById": self.integration_user, "LastModifiedById": self.integration_user,
        }  # fmt: skip
        people = {
            self.integration_user: ("Billing Integration", "integration"), self.rep_user: ("Robin Sales", "rep"), self.admin_user: ("Ada Admin", "admin"),
        }  # fmt: skip
        facts = {
            "Name": traits.name, "IsSandbox": traits.is_sandbox, "DefaultCurrencyIsoCode": self.currency, "TimeZoneSidKey": str(self.zone),
        }  # fmt: skip
        with self.transaction():
            for user in founding.users(people, system, str(self.zone)):
                self.put("User", user["Id"], user)
            self.put("Organization", self.org_id, founding.organization(self.org_id, system, facts))
            self._settings["next_number"] = 100
            for row in founding.currencies(self.currency, system) if self.is_multi_currency() else ():
                record = self._new_id("CurrencyType")
                self.put("CurrencyType", record, {"Id": record, **row})

    def become_another(self, *, is_sandbox: bool) -> None:
        """Take another org id, as a sandbox does when it is refreshed; the records keep theirs."""
        with self.transaction():
            row = self._tables["Organization"].rows[self.org_id]
            self.put("Organization", self.org_id, None)
            self._settings["org_number"] += 1
            self.org_id = minted("00D", self._settings["org_number"])
            self.put(
                "Organization",
                self.org_id,
                {**row, "Id": self.org_id, "IsSandbox": is_sandbox, "SystemModstamp": self.stamp()},
            )

    @property
    def labels(self) -> set[str]:
        """The custom labels that were deployed."""
        return set(self._settings["labels"])

    def redefine(self, kinds: Iterable[ObjectType], deployed: dict[str, Any], labels: set[str]) -> None:
        """Take over new and changed objects; *deployed* and *labels* are what to keep of them. Records keep what they hold."""
        changed = {kind.name: kind for kind in kinds}
        self._settings["deployed"] = together(self._settings["deployed"], deployed)
        self._settings["labels"] = sorted(labels)
        self._keeping.redefine(changed.values())
        self.schema = Schema(types=(*(changed.pop(one.name, one) for one in self.schema.types), *changed.values()))

    def close(self) -> None:
        """Close the org's file."""
        self._keeping.close()

    # -- facts ------------------------------------------------------------------------------------------------------------

    @property
    def currency(self) -> str:
        """The org's own currency, ISO 4217."""
        return str(self._settings["currency"])

    def is_multi_currency(self) -> bool:
        """Say whether records carry a currency."""
        return bool(self._settings["multi_currency"])

    def is_bare(self) -> bool:
        """Say whether the connector's fields are still missing in an org that was made without them."""
        return bool(self._settings["is_bare"]) and not self._settings["deployed"]

    def has_codes(self) -> bool:
        """Say whether countries and states are picklists."""
        return bool(self._settings["has_codes"])

    def now(self) -> datetime:
        """Return the org's time, aware UTC."""
        return self.clock().astimezone(UTC)

    def stamp(self) -> str:
        """Return the org's time as records carry it; a knob may hold it still."""
        frozen = self.faults.frozen_stamp
        if frozen:
            at = instant_from_text(frozen) or self.clock()
            self.faults.frozen_stamp = instant_text(at)
            return self.faults.frozen_stamp
        return instant_text(self.clock())

    def type(self, name: str) -> ObjectType:
        """Return the object of that name, in any case. Raises: Refusal 404."""
        found = self.schema.by_lower.get(name.lower())
        if found is None:
            raise not_found()
        return found

    def has(self, kind: str, name: str) -> bool:
        """Say whether the object of that exact name has the field, seen or hidden."""
        return name.lower() in self._tables[kind].kind.by_lower

    def field(self, kind: ObjectType, name: str) -> Field | None:
        """Return the field of that name, in any case; None if there is none, or field access is missing."""
        found = kind.by_lower.get(name.lower())
        if found is None or (self.faults.hidden and (kind.name, found.name) in self.faults.hidden):
            return None
        return found

    def value(self, kind: ObjectType, field: Field, row: Row) -> Any:
        """Return what a record shows in *field*: what is stored, or what its formula gives."""
        return row.get(field.name) if field.formula is None else self.conditions.value(kind, field, field.formula, row)

    def table(self, kind: str) -> Table:
        """Return the records of the object with that exact name."""
        if self._keeping.is_waiting:
            self._keeping.settle(self.now())
        return self._tables[kind]

    def row(self, kind: str, record: str | None) -> Row | None:
        """Return a record that is not deleted, or None."""
        found = self.table(kind).rows.get(record) if record else None
        return None if found is None or found["IsDeleted"] else found

    def rows(self, kind: str) -> Iterator[Row]:
        """Yield the records that are not deleted, oldest first."""
        return (row for row in list(self.table(kind).rows.values()) if not row["IsDeleted"])

    def get(self, kind: str, record: str) -> Row:
        """Return a record by an id of 15 or 18 characters. Raises: Refusal 404 if it is missing or deleted."""
        found = self.table(kind).rows.get(id18(record) or "")
        if found is None:
            raise not_found()
        if found["IsDeleted"]:
            raise Refusal("ENTITY_IS_DELETED", "entity is deleted", status=404)
        return found

    def live_children(self, kind: str, field: str, parent: str) -> list[Row]:
        """Return the records not deleted whose lookup *field* points at *parent*; none where the org lacks object or field."""
        table = self._tables.get(kind)
        if table is None or not table.is_indexed(field):
            return []
        found = (table.rows[one] for one in table.children(field, parent))
        return [row for row in found if not row["IsDeleted"]]

    # -- transactions -----------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, user: str | None = None) -> Iterator[None]:
        """Carry out the saves inside as one: all stand, or, if an exception leaves, none. Inner ones are savepoints."""
        with self.lock:
            if self._depth == 0:
                self._keeping.settle(self.now())
            mark, acting, numbers = self._keeping.mark, self._acting, dict(self._settings["auto_numbers"])
            self._acting = user or acting
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._commit()
            except BaseException:
                self._keeping.roll_back(mark)
                self._settings["auto_numbers"] = numbers
                raise
            finally:
                self._depth -= 1
                self._acting = acting

    def _commit(self) -> None:
        late_s = 0
        if self._keeping.mark and self.faults.late:
            late_s = self.faults.holding(is_integration=self._acting == self.integration_user)
        self._keeping.commit(self.now(), late_s)

    def oldest_open(self) -> datetime | None:
        """Return when the oldest transaction that is still unseen began; None without one."""
        return self._keeping.oldest_open()

    def put(self, kind: str, record: str, row: Row | None) -> None:
        """Store a whole record as it is, or remove it; part of the transaction. Raises: Refusal while a slow save holds it."""
        self._keeping.put(kind, record, row)

    def _new_id(self, kind: str) -> str:
        number = self._settings["next_number"]
        self._settings["next_number"] = number + 1
        return minted(self.schema.by_lower[kind.lower()].prefix, number)

    # -- saving -----------------------------------------------------------------------------------------------------------

    def create(self, kind: str, fields: dict[str, Any]) -> str:
        """Create a record from API field names and values; return its id. Raises: Refusal."""
        with self.transaction():
            one = self.type(kind)
            if not one.is_writable:
                raise Refusal("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type {one.name} cannot be inserted")
            if any(name.lower() == "id" for name in fields):
                raise Refusal("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
            changes = read_changes(self, one, fields, is_new=True)
            named = ("OwnerId", "Name") if self._settings["has_persons"] and changes.get("LastName") else ("OwnerId",)
            missing = tuple(f.name for f in one.required if changes.get(f.name) is None and f.name not in named)
            if missing:
                raise Refusal(
                    "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", fields=missing
                )
            return self._insert(one, changes)

    def insert(self, kind: str, fields: dict[str, Any]) -> str:
        """Store a new record whose values are already in stored form; return its id."""
        with self.transaction():
            return self._insert(self._tables[kind].kind, fields)

    def _insert(self, one: ObjectType, changes: Row) -> str:
        record = self._new_id(one.name)
        now = self.stamp()
        draft = {"Id": record, "IsDeleted": False, **one.defaults, "CreatedDate": now, "CreatedById": self._acting}
        draft.update(changes)
        if "ownerid" in one.by_lower and draft.get("OwnerId") is None:
            draft["OwnerId"] = self._acting
        if self.is_multi_currency() and "currencyisocode" in one.by_lower and draft.get("CurrencyIsoCode") is None:
            draft["CurrencyIsoCode"] = self.currency
        for field in one.fields:
            if field.auto_number:
                draft[field.name] = self._auto_number(one.name, field)
        self._save(one, draft, None)
        return record

    def _auto_number(self, kind: str, field: Field) -> str:
        numbers = self._settings["auto_numbers"]
        numbers[kind] = numbers.get(kind, 0) + 1
        return field.auto_number.format(numbers[kind])

    def update(self, kind: str, record: str, fields: dict[str, Any]) -> str:
        """Change fields of a record (null empties); return its 18-character id. Raises: Refusal."""
        with self.transaction():
            one = self.type(kind)
            old = self.get(one.name, record)
            self.conditions.check_lock(one, old)
            self.faults.check_save((old["Id"], old.get("AccountId")))
            changes = read_changes(self, one, fields, is_new=False)
            for field in one.required:
                if field.name in changes and changes[field.name] is None:
                    raise Refusal(
                        "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{field.name}]", fields=(field.name,)
                    )
            self._save(one, {**old, **changes}, old)
            return str(old["Id"])

    def upsert(self, kind: str, field: str, value: str, fields: dict[str, Any]) -> tuple[str, bool]:
        """Update the record with that external id, or create it; return (id, was it created). Raises: Refusal."""
        one = self.type(kind)
        key = self.field(one, field)
        if key is None or not (key.external_id or key.type == "id"):
            raise not_found(f"Provided external ID field does not exist or is not accessible: {field}")
        if any(name.lower() == key.name.lower() for name in fields):
            raise Refusal("INVALID_FIELD", f"The {key.name} field should not be specified in the sobject data.")
        if key.type == "id":
            return self.update(one.name, value, fields), False
        found = self.by_external(one.name, key.name, value)
        if found is not None:
            return self.update(one.name, found["Id"], fields), False
        return self.create(one.name, {**fields, key.name: value}), True

    def by_external(self, kind: str, field: str, value: str) -> Row | None:
        """Return the record that is not deleted with that external id, or None. Raises: AmbiguousError if there are several."""
        table = self.table(kind)
        live = [row for row in (table.rows[one] for one in table.matching(field, value)) if not row["IsDeleted"]]
        if len(live) > 1:
            raise AmbiguousError(kind, field, [row["Id"] for row in live])
        return live[0] if live else None

    def _save(self, one: ObjectType, draft: Row, old: Row | None) -> None:
        rules.before_save(self, one.name, draft, old)
        self.faults.check_filled(one.name, draft)
        self.conditions.check(one, draft)
        for field in one.externals:
            if draft.get(field.name) is not None and (old is None or old.get(field.name) != draft[field.name]):
                check_unique(self, one, field, draft)
        self.store(one.name, draft)
        rules.after_save(self, one.name, draft, old)

    def store(self, kind: str, draft: Row) -> None:
        """Store a record with the stamp of now and the user who acts."""
        now = self.stamp()
        kept = {name: value for name, value in draft.items() if value is not None}
        kept.update(LastModifiedDate=now, SystemModstamp=now, LastModifiedById=self._acting)
        self.put(kind, kept["Id"], kept)

    def derive(self, kind: str, record: str, changes: dict[str, Any]) -> None:
        """Store derived values; the record's stamp moves as with any save."""
        self.store(kind, {**self._tables[kind].rows[record], **changes})

    # -- deleting ---------------------------------------------------------------------------------------------------------

    def delete(self, kind: str, record: str) -> None:
        """Move a record, and what hangs on it, to the recycle bin. Raises: Refusal."""
        with self.transaction():
            old = self.get(self.type(kind).name, record)
            self.conditions.check_lock(self.type(kind), old)
            self.faults.check_save((old["Id"], old.get("AccountId")))
            self._bin(self.type(kind).name, old, is_deleted=True)

    def undelete(self, kind: str, record: str) -> None:
        """Bring a record, and what was deleted with it, back from the recycle bin. Raises: Refusal."""
        with self.transaction():
            kind = self.type(kind).name
            old = self._tables[kind].rows.get(id18(record) or "")
            if old is None or not old["IsDeleted"]:
                raise Refusal("UNDELETE_FAILED", "Entity is not in the recycle bin")
            self._bin(kind, old, is_deleted=False)

    def _bin(self, kind: str, old: Row, *, is_deleted: bool) -> None:
        for child, field in self.schema.children[kind].values():
            if not field.cascades:
                continue
            table = self._tables[child.name]
            for one in table.children(field.name, old["Id"]):
                row = table.rows[one]
                if row["IsDeleted"] != is_deleted and (is_deleted or row["SystemModstamp"] == old["SystemModstamp"]):
                    self._bin(child.name, row, is_deleted=is_deleted)
        self.store(kind, {**old, "IsDeleted": is_deleted})
        rules.after_delete(self, kind, old)

    def erase(self, kind: str, record: str) -> None:
        """Remove a record for good, so that even queryAll does not see it."""
        with self.transaction():
            self.put(kind, record, None)

    def merge(self, kind: str, winner: str, loser: str) -> None:
        """Merge two accounts or contacts: children move to *winner*, *loser* is deleted with MasterRecordId."""
        with self.transaction():
            kind = self.type(kind).name
            if "masterrecordid" not in self.schema.by_lower[kind.lower()].by_lower:
                raise Refusal("INVALID_TYPE", f"{kind} records cannot be merged")
            kept, gone = self.get(kind, winner), self.get(kind, loser)
            for one in self.schema.types:
                for field in one.references:
                    if field.target == kind and field.name != "MasterRecordId":
                        for child in self._tables[one.name].children(field.name, gone["Id"]):
                            self.derive(one.name, child, {field.name: kept["Id"]})
            self.store(kind, {**gone, "IsDeleted": True, "MasterRecordId": kept["Id"]})
            self.store(kind, dict(kept))

    # -- for tests and bulk seeding ---------------------------------------------------------------------------------------

    def load(self, kind: str, rows: Iterable[Row]) -> list[str]:
        """Store new records whose values are complete and in stored form, without checks; return their ids."""
        now = self.stamp()
        tail = {
            "CreatedDate": now,
            "CreatedById": self._acting,
            "LastModifiedDate": now,
            "LastModifiedById": self._acting,
            "SystemModstamp": now,
        }
        defaults = self._tables[kind].kind.defaults
        out = []
        with self.transaction():
            for row in rows:
                record = self._new_id(kind)
                self.put(kind, record, {"Id": record, "IsDeleted": False, **defaults, **row, **tail})
                out.append(record)
        return out

    def restamp(self, kind: str, records: Iterable[str], *, seconds: int = 0) -> None:
        """Move stamps to now plus *seconds* without any other change: a mass bump, or a commit that shows up late."""
        at = instant_text(self.clock() + timedelta(seconds=seconds))
        with self.transaction():
            for record in records:
                self.put(kind, record, {**self._tables[kind].rows[record], "SystemModstamp": at})

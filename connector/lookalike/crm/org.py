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
from decimal import Decimal
from pathlib import Path
from threading import RLock
from typing import Any
from zoneinfo import ZoneInfo

from connector.lookalike.crm import rules
from connector.lookalike.crm.catalogue import schema
from connector.lookalike.crm.faults import Faults
from connector.lookalike.crm.file import OrgFile
from connector.lookalike.crm.ids import id18, minted
from connector.lookalike.crm.refusal import Refusal, not_found
from connector.lookalike.crm.schema import NUMBERS, Field, ObjectType
from connector.lookalike.crm.table import Row, Table
from connector.lookalike.crm.values import instant_text, stored

_DEFAULT_RATES = {"EUR": "1", "USD": "1.1", "GBP": "0.85", "CHF": "0.95", "JPY": "165"}


def _system_time() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What else an org may be like. price_scale - decimal places of unit prices. org_number - another one is another org id."""

    name: str = "Northwind Instruments"
    has_quotes: bool = True
    price_scale: int = 2
    org_number: int = 1
    is_sandbox: bool = False
    daily_limit: int = 100_000


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
        self._file = OrgFile(path) if path is not None else None
        self._settings: dict[str, Any] = {
            "org_number": traits.org_number, "currency": currency, "timezone": timezone, "multi_currency": multi_currency,
            "has_quotes": traits.has_quotes, "price_scale": traits.price_scale, "next_number": 1, "auto_numbers": {},
        }  # fmt: skip
        saved = self._file.settings() if self._file else {}
        self._settings.update(saved)
        self.schema = schema(
            multi_currency=self._settings["multi_currency"],
            has_quotes=self._settings["has_quotes"],
            price_scale=self._settings["price_scale"],
        )
        self.zone = ZoneInfo(self._settings["timezone"])
        self.org_id = minted("00D", self._settings["org_number"])
        self.integration_user = minted("005", 1)
        self.rep_user = minted("005", 2)
        self._acting = self.integration_user
        self._tables = {one.name: Table(one) for one in self.schema.types}
        self._undo: list[tuple[str, str, Row | None]] = []
        self._depth = 0
        if saved:
            self._load()
        else:
            self._found(traits)

    # -- founding and loading ---------------------------------------------------------------------------------------------

    def _found(self, traits: Traits) -> None:
        now = self.stamp()
        system = {
            "IsDeleted": False, "CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now,
            "CreatedById": self.integration_user, "LastModifiedById": self.integration_user,
        }  # fmt: skip
        people = (
            (self.integration_user, "Billing", "Integration", "integration"),
            (self.rep_user, "Robin", "Sales", "rep"),
        )
        with self.transaction():
            for record, first, last, login in people:
                self._put("User", record, {
                    "Id": record, **system, "Username": f"{login}@demo.example", "FirstName": first, "LastName": last, "Name": f"{first} {last}",
                    "Email": f"{login}@demo.example", "IsActive": True, "UserType": "Standard", "TimeZoneSidKey": str(self.zone),
                })  # fmt: skip
            self._put("Organization", self.org_id, {
                "Id": self.org_id, **system, "Name": traits.name, "IsSandbox": traits.is_sandbox, "InstanceName": "DEMO1", "OrganizationType": "Developer Edition",
                "DefaultCurrencyIsoCode": self.currency, "TimeZoneSidKey": str(self.zone), "Country": "FR", "LanguageLocaleKey": "en_US",
                "DefaultLocaleSidKey": "en_US",
            })  # fmt: skip
            self._settings["next_number"] = 100
            if self.is_multi_currency():
                for code in dict.fromkeys((self.currency, *_DEFAULT_RATES)):
                    self._found_currency(code, system)

    def _found_currency(self, code: str, system: Row) -> None:
        record = self._new_id("CurrencyType")
        self._put("CurrencyType", record, {
            "Id": record, **system, "IsoCode": code, "ConversionRate": Decimal(_DEFAULT_RATES.get(code, "1")),
            "DecimalPlaces": 0 if code == "JPY" else 2, "IsActive": True, "IsCorporate": code == self.currency,
        })  # fmt: skip

    def _load(self) -> None:
        assert self._file is not None
        wide = {one.name: [f.name for f in one.fields if f.type in NUMBERS] for one in self.schema.types}
        for kind, record, row in self._file.records():
            for name in wide[kind]:
                if isinstance(row.get(name), int):
                    row[name] = Decimal(row[name])
            self._tables[kind].put(record, row)

    def close(self) -> None:
        """Close the org's file."""
        if self._file:
            self._file.close()

    # -- facts ------------------------------------------------------------------------------------------------------------

    @property
    def currency(self) -> str:
        """The org's own currency, ISO 4217."""
        return str(self._settings["currency"])

    def is_multi_currency(self) -> bool:
        """Say whether records carry a currency."""
        return bool(self._settings["multi_currency"])

    def now(self) -> datetime:
        """Return the org's time, aware UTC."""
        return self.clock().astimezone(UTC)

    def stamp(self) -> str:
        """Return the org's time as records carry it."""
        return instant_text(self.clock())

    def type(self, name: str) -> ObjectType:
        """Return the object of that name, in any case. Raises: Refusal 404."""
        found = self.schema.by_lower.get(name.lower())
        if found is None:
            raise not_found()
        return found

    def field(self, kind: ObjectType, name: str) -> Field | None:
        """Return the field of that name, in any case; None if there is none, or field access is missing."""
        found = kind.by_lower.get(name.lower())
        if found is None or (self.faults.hidden and (kind.name, found.name) in self.faults.hidden):
            return None
        return found

    def table(self, kind: str) -> Table:
        """Return the records of the object with that exact name."""
        return self._tables[kind]

    def row(self, kind: str, record: str | None) -> Row | None:
        """Return a record that is not deleted, or None."""
        found = self._tables[kind].rows.get(record) if record else None
        return None if found is None or found["IsDeleted"] else found

    def rows(self, kind: str) -> Iterator[Row]:
        """Yield the records that are not deleted, oldest first."""
        return (row for row in list(self._tables[kind].rows.values()) if not row["IsDeleted"])

    def get(self, kind: str, record: str) -> Row:
        """Return a record by an id of 15 or 18 characters. Raises: Refusal 404 if it is missing or deleted."""
        found = self._tables[kind].rows.get(id18(record) or "")
        if found is None:
            raise not_found()
        if found["IsDeleted"]:
            raise Refusal("ENTITY_IS_DELETED", "entity is deleted", status=404)
        return found

    def live_children(self, kind: str, field: str, parent: str) -> list[Row]:
        """Return the records not deleted whose lookup *field* points at *parent*."""
        table = self._tables[kind]
        return [row for row in (table.rows[one] for one in table.children(field, parent)) if not row["IsDeleted"]]

    # -- transactions -----------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, user: str | None = None) -> Iterator[None]:
        """Carry out the saves inside as one: all stand, or, if an exception leaves, none. Inner ones are savepoints."""
        with self.lock:
            mark, acting, numbers = len(self._undo), self._acting, dict(self._settings["auto_numbers"])
            self._acting = user or acting
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._commit()
            except BaseException:
                while len(self._undo) > mark:
                    kind, record, old = self._undo.pop()
                    self._tables[kind].put(record, old)
                self._settings["auto_numbers"] = numbers
                raise
            finally:
                self._depth -= 1
                self._acting = acting

    def _commit(self) -> None:
        if self._file and self._undo:
            touched = dict.fromkeys((kind, record) for kind, record, _ in self._undo)
            self._file.save(
                ((kind, record, self._tables[kind].rows.get(record)) for kind, record in touched), self._settings
            )
        self._undo.clear()

    def _put(self, kind: str, record: str, row: Row | None) -> None:
        self._undo.append((kind, record, self._tables[kind].put(record, row)))

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
            changes = self._read(one, fields, is_new=True)
            missing = tuple(f.name for f in one.required if changes.get(f.name) is None and f.name != "OwnerId")
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
            self.faults.check_save((old["Id"], old.get("AccountId")))
            changes = self._read(one, fields, is_new=False)
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
        """Return the record that is not deleted with that external id, or None."""
        table = self._tables[kind]
        live = [row for row in (table.rows[one] for one in table.matching(field, value)) if not row["IsDeleted"]]
        return live[0] if live else None

    def _read(self, one: ObjectType, fields: dict[str, Any], *, is_new: bool) -> Row:
        changes: Row = {}
        for name, value in fields.items():
            if name == "attributes":
                continue
            if isinstance(value, dict):
                field = one.by_relationship.get(name.lower())
                value = self._by_reference(field, name, value)
            else:
                field = self.field(one, name)
            if field is None:
                raise Refusal("INVALID_FIELD", f"No such column '{name}' on sobject of type {one.name}")
            self._check_writable(one, field, is_new=is_new)
            kept = stored(field, value)
            if field.target and kept is not None:
                self._check_reference(field, kept)
            changes[field.name] = False if kept is None and field.type == "boolean" else kept
        return changes

    def _by_reference(self, field: Field | None, name: str, value: dict[str, Any]) -> str:
        keys = [key for key in value if key != "attributes"]
        target = self.schema.by_lower[field.target.lower()] if field else None
        key = self.field(target, keys[0]) if target and len(keys) == 1 else None
        if target is None or key is None or not key.external_id:
            raise Refusal("INVALID_FIELD", f"Cannot reference a foreign key field {name}.")
        found = self.by_external(target.name, key.name, str(value[keys[0]]))
        if found is None:
            text = f"Foreign key external ID: {value[keys[0]]} not found for field {key.name} in entity {target.name}"
            raise Refusal("INVALID_FIELD", text)
        return str(found["Id"])

    def _check_writable(self, one: ObjectType, field: Field, *, is_new: bool) -> None:
        allowed = field.createable if is_new else field.updateable
        if not allowed or (one.name, field.name) in self.faults.read_only:
            raise Refusal(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                f"Unable to create/update fields: {field.name}. Please check the security settings of this field and verify "
                "that it is read/write for your profile or permission set.",
                fields=(field.name,),
            )

    def _check_reference(self, field: Field, record: str) -> None:
        target = self.schema.by_lower[field.target.lower()]
        if record[:3] != target.prefix:
            raise Refusal(
                "FIELD_INTEGRITY_EXCEPTION", f"{field.name}: id value of incorrect type: {record}", fields=(field.name,)
            )
        found = self._tables[target.name].rows.get(record)
        if found is None:
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=(field.name,))
        if found["IsDeleted"]:
            raise Refusal("ENTITY_IS_DELETED", "entity is deleted", fields=(field.name,))

    def _save(self, one: ObjectType, draft: Row, old: Row | None) -> None:
        rules.before_save(self, one.name, draft, old)
        for field in one.externals:
            if draft.get(field.name) is not None and (old is None or old.get(field.name) != draft[field.name]):
                self._check_unique(one, field, draft)
        self._store(one.name, draft)
        rules.after_save(self, one.name, draft, old)

    def _check_unique(self, one: ObjectType, field: Field, draft: Row) -> None:
        twin = self.by_external(one.name, field.name, draft[field.name])
        if field.unique and twin is not None and twin["Id"] != draft["Id"]:
            text = f"duplicate value found: {field.name} duplicates value on record with id: {twin['Id'][:15]}"
            raise Refusal("DUPLICATE_VALUE", text, fields=(field.name,))

    def _store(self, kind: str, draft: Row) -> None:
        now = self.stamp()
        kept = {name: value for name, value in draft.items() if value is not None}
        kept.update(LastModifiedDate=now, SystemModstamp=now, LastModifiedById=self._acting)
        self._put(kind, kept["Id"], kept)

    def derive(self, kind: str, record: str, changes: dict[str, Any]) -> None:
        """Store derived values; the record's stamp moves as with any save."""
        self._store(kind, {**self._tables[kind].rows[record], **changes})

    # -- deleting ---------------------------------------------------------------------------------------------------------

    def delete(self, kind: str, record: str) -> None:
        """Move a record, and what hangs on it, to the recycle bin. Raises: Refusal."""
        with self.transaction():
            old = self.get(self.type(kind).name, record)
            self.faults.check_save((old["Id"], old.get("AccountId")))
            self._bin(self.type(kind).name, old, is_deleted=True)

    def undelete(self, kind: str, record: str) -> None:
        """Bring a record, and what was deleted with it, back from the recycle bin. Raises: Refusal."""
        with self.transaction():
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
        self._store(kind, {**old, "IsDeleted": is_deleted})
        rules.after_delete(self, kind, old)

    def erase(self, kind: str, record: str) -> None:
        """Remove a record for good, so that even queryAll does not see it."""
        with self.transaction():
            self._put(kind, record, None)

    def merge(self, kind: str, winner: str, loser: str) -> None:
        """Merge two accounts or contacts: children move to *winner*, *loser* is deleted with MasterRecordId."""
        with self.transaction():
            kept, gone = self.get(kind, winner), self.get(kind, loser)
            for one in self.schema.types:
                for field in one.references:
                    if field.target == kind and field.name != "MasterRecordId":
                        for child in self._tables[one.name].children(field.name, gone["Id"]):
                            self.derive(one.name, child, {field.name: kept["Id"]})
            self._store(kind, {**gone, "IsDeleted": True, "MasterRecordId": kept["Id"]})
            self._store(kind, dict(kept))

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
                self._put(kind, record, {"Id": record, "IsDeleted": False, **defaults, **row, **tail})
                out.append(record)
        return out

    def restamp(self, kind: str, records: Iterable[str], *, seconds: int = 0) -> None:
        """Move stamps to now plus *seconds* without any other change: a mass bump, or a commit that shows up late."""
        at = instant_text(self.clock() + timedelta(seconds=seconds))
        with self.transaction():
            for record in records:
                self._put(kind, record, {**self._tables[kind].rows[record], "SystemModstamp": at})

"""The schema that the revisions make is the schema that the table classes say; a newer one is refused."""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from postgres import new_database
from sqlalchemy import MetaData
from sqlalchemy.exc import IntegrityError

from connector import migrations, sync
from connector.billing import tables
from connector.errors import HaltError
from connector.kit.db import Database
from connector.sync import imported, intents, ledger


# an index that begins with a piece of a column cannot be read back; test_a_line_key_is_unique_however_the_books_were_made has it
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index line_key")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index 'line_key'")
def test_the_revisions_make_the_tables_of_ledger_and_books(tmp_path: Path) -> None:
    """A new database brought to the head differs in nothing from the table classes."""
    database = Database(f"sqlite:///{tmp_path}/new.db")
    with database.engine.begin() as connection:
        migrations.upgrade(connection)
        wanted = MetaData()
        assert ledger.METADATA is intents.IntentRow.metadata is imported.WantedRecordRow.metadata
        for room in pkgutil.iter_modules(sync.__path__):
            importlib.import_module(f"connector.sync.{room.name}")  # each brings its tables along
        for metadata in (ledger.METADATA, tables.METADATA):
            for table in metadata.sorted_tables:
                table.to_metadata(wanted)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = [d for d in compare_metadata(context, wanted) if not (d[0] == "remove_table" and d[1].name == "alembic_version")]
    assert found == []


def test_a_line_key_is_unique_however_the_books_were_made(tmp_path: Path) -> None:
    """Revisions and table classes make the same unique index of line keys: a key that stands already is refused, of whatever form."""
    said = []
    for name in ("revisions", "classes"):
        database = Database(f"sqlite:///{tmp_path}/{name}.db")
        with database.engine.begin() as connection:
            if name == "revisions":
                migrations.upgrade(connection)
            else:
                tables.METADATA.create_all(connection)
        with database.transaction() as unit:
            said.append(unit.query("SELECT name, sql FROM sqlite_master WHERE tbl_name = 'line' AND sql LIKE 'CREATE%INDEX%' ORDER BY name"))
            columns = [row[1] for row in unit.query("PRAGMA table_info(line)")]
        for number, key in enumerate(("ct_1/gold//2026-01-01/charge", "k", "ct_1/gold//2026-01-01/charge/copy 1")):
            for again in (False, True):
                row = [key if c == "key" else number * 2 + again if c == "position" else 0 for c in columns]
                insert = f"INSERT INTO line VALUES ({','.join('?' * len(columns))})"
                with pytest.raises(IntegrityError) if again else nullcontext(), database.transaction() as unit:
                    unit.execute(insert, row)
        database.close()
    assert said[0] == said[1]
    assert [name for name, _ in said[0]] == ["line_contract", "line_key"]


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_ids_that_stood_before_0006_are_known_afterwards(tmp_path: Path, backend: str) -> None:
    """Ids of customers and prices are copied to the ids that are known, of nothing else; run on a database with rows, on either backend."""
    database = Database(f"sqlite:///{tmp_path}/old.db" if backend == "sqlite" else new_database("template1"))
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    rows = [("customer", "cu_1", "cus_1"), ("price", "p" * 300, "price_1"), ("coupon", "TEN", "TEN"), ("product", "SEAT", "prod_1")]
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for row in rows:
            values = ", ".join(f"'{value}'" for value in (*row, "2026-01-01T00:00:00Z"))
            connection.exec_driver_sql(f"INSERT INTO stripe_object (kind, key, stripe_id, made_at) VALUES ({values})")
    with database.engine.begin() as connection:
        migrations.upgrade(connection)
    with database.transaction() as unit:
        found = unit.query("SELECT kind, key, stripe_id, contract_id, made_at FROM stripe_known ORDER BY kind")
        assert [tuple(row) for row in found] == [(*row, "", "2026-01-01T00:00:00Z") for row in rows[:2]]
        assert unit.query("SELECT COUNT(*) FROM stripe_object")[0][0] == len(rows)
        assert unit.query("SELECT COUNT(*) FROM stripe_told")[0][0] == 0
    database.close()


def test_an_unknown_version_is_refused_by_name() -> None:
    """A schema that a newer program wrote stops the start and names its version."""
    assert migrations.state(None) == "new"
    assert migrations.state(migrations.HEAD) == "current"
    with pytest.raises(HaltError, match="0042"):
        migrations.state("0042")

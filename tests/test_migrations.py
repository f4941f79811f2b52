"""The schema that the revisions make is the schema that the table classes say; a newer one is refused."""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
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


def test_an_unknown_version_is_refused_by_name() -> None:
    """A schema that a newer program wrote stops the start and names its version."""
    assert migrations.state(None) == "new"
    assert migrations.state(migrations.HEAD) == "current"
    with pytest.raises(HaltError, match="0042"):
        migrations.state("0042")

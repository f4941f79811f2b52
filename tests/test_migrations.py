"""The schema that the revisions make is the schema that the table classes say; a newer one is refused."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData

from connector import migrations, sync
from connector.billing import tables
from connector.errors import HaltError
from connector.kit.db import Database
from connector.sync import imported, intents, ledger


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


def test_an_unknown_version_is_refused_by_name() -> None:
    """A schema that a newer program wrote stops the start and names its version."""
    assert migrations.state(None) == "new"
    assert migrations.state(migrations.HEAD) == "current"
    with pytest.raises(HaltError, match="0042"):
        migrations.state("0042")

"""Run by alembic: migrate over the connection that `connector.migrations` hands in."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None, transactional_ddl=True, render_as_batch=False)
with context.begin_transaction():
    context.run_migrations()

"""Alembic's entry: run the revisions on the connection that `api.migrations` opened and locked."""

from alembic import context

import api.attempts.tables
import api.datasets.tables
import api.events.tables
import api.jobs.tables
import api.logs.tables
import api.models.tables
import api.studies.tables
import api.workers.tables
from api.db import Base

tables = (
    api.attempts.tables,
    api.datasets.tables,
    api.events.tables,
    api.jobs.tables,
    api.logs.tables,
    api.models.tables,
    api.studies.tables,
    api.workers.tables,
)  # imported: their tables are in the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()

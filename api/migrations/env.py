"""Alembic's entry: run the revisions on the connection that `api.migrations` opened and locked."""

from alembic import context

import api.attempts.tables
import api.audit.tables
import api.datasets.tables
import api.discards
import api.events.tables
import api.idempotency.tables
import api.jobs.tables
import api.keys.tables
import api.logs.tables
import api.models.tables
import api.resumable.tables
import api.studies.tables
import api.webhooks.tables
import api.workers.tables
from api.db import Base

tables = (
    api.attempts.tables,
    api.audit.tables,
    api.datasets.tables,
    api.discards,
    api.idempotency.tables,
    api.events.tables,
    api.jobs.tables,
    api.keys.tables,
    api.logs.tables,
    api.models.tables,
    api.resumable.tables,
    api.studies.tables,
    api.webhooks.tables,
    api.workers.tables,
)  # imported: their tables are in the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()

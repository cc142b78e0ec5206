"""Alembic's entry: run the revisions on the connection that `api.migrations` opened and locked."""

from alembic import context

import api.storage.deletions
import api.tables.attempts
import api.tables.audit
import api.tables.datasets
import api.tables.events
import api.tables.idempotency
import api.tables.jobs
import api.tables.keys
import api.tables.logs
import api.tables.models
import api.tables.resumable
import api.tables.shares
import api.tables.studies
import api.tables.webhooks
import api.tables.workers
from api.db import Base

tables = (
    api.tables.attempts,
    api.tables.audit,
    api.tables.datasets,
    api.storage.deletions,
    api.tables.idempotency,
    api.tables.events,
    api.tables.jobs,
    api.tables.keys,
    api.tables.logs,
    api.tables.models,
    api.tables.resumable,
    api.tables.shares,
    api.tables.studies,
    api.tables.webhooks,
    api.tables.workers,
)  # imported: their tables are in the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()

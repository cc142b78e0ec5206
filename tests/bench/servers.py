"""The servers that are compared: the product with one constant endpoint added, and a bare FastAPI app.

`python -m tests.bench.servers product|bare PORT`
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from sqlalchemy import RowMapping, select

from api import log_setup
from api.db import make_engine
from api.http.main import create_app
from api.settings import Settings
from api.tables.jobs import Job


def product(settings: Settings) -> FastAPI:
    """Make the service, with an endpoint behind the same guard that answers without looking at anything."""
    log_setup.set_up(settings)
    app = create_app(settings)

    async def constant() -> Response:
        return Response(status_code=304, headers={"ETag": 'W/"1"'})

    app.add_api_route("/v1/constant", constant)
    return app


def bare(settings: Settings) -> FastAPI:
    """Make what anybody would write for one row, and for 20: same driver and pool; no guard, log, owner or schema."""
    app, engine, table = FastAPI(), make_engine(settings.database_url), Job.__table__

    def get(job_id: str) -> JSONResponse:
        with engine.connect() as connection:
            return JSONResponse(_plain(connection.execute(select(table).where(table.c.id == job_id)).mappings().one()))

    def newest() -> JSONResponse:
        with engine.connect() as connection:
            rows = connection.execute(select(table).order_by(table.c.id.desc()).limit(20)).mappings().all()
        return JSONResponse([_plain(row) for row in rows])

    app.add_api_route("/jobs/{job_id}", get)
    app.add_api_route("/jobs", newest)
    return app


def _plain(row: RowMapping) -> dict[str, Any]:
    return {name: str(value) if hasattr(value, "isoformat") else value for name, value in row.items()}


if __name__ == "__main__":
    made = {"product": product, "bare": bare}[sys.argv[1]](Settings())
    # Followers keep their streams open: without a limit the server would wait for them for ever.
    config = uvicorn.Config(
        made,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run()

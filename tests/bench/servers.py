"""The servers that are compared: the product with one constant address added, and a bare FastAPI app.

`python -m tests.bench.servers product|bare PORT`
"""

import sys

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from sqlalchemy import select

from api import journal
from api.db import make_engine
from api.jobs.tables import Job
from api.main import create_app
from api.settings import Settings


def product() -> FastAPI:
    """The service, and an address behind the same guard that answers without a look at anything."""
    settings = Settings()
    journal.set_up(settings)
    app = create_app(settings)

    async def constant() -> Response:
        return Response(status_code=304, headers={"ETag": 'W/"1"'})

    app.add_api_route("/v1/constant", constant)
    return app


def bare() -> FastAPI:
    """What a person would write who wants one row: no guard, no log, no schema, the same driver and pool."""
    app, engine, table = FastAPI(), make_engine(Settings().database_url), Job.__table__

    def get(job_id: str) -> JSONResponse:
        with engine.connect() as connection:
            row = connection.execute(select(table).where(table.c.id == job_id)).mappings().one()
        return JSONResponse({name: value if name not in DATES else str(value) for name, value in row.items()})

    DATES = {
        column.name for column in table.columns if "at" in column.name or column.name in ("deadline", "lease_until")
    }
    app.add_api_route("/jobs/{job_id}", get)
    return app


if __name__ == "__main__":
    made = {"product": product, "bare": bare}[sys.argv[1]]()
    uvicorn.run(made, host="127.0.0.1", port=int(sys.argv[2]), log_config=None, access_log=False, server_header=False)

"""The client's methods: one for each operation of the service."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from rdrkd.client import calls, transfers
from rdrkd.client._async.driver import AsyncDriver
from rdrkd.client.effects import Progress
from rdrkd.client.views import Artifact, Dataset, Job, Model, Study
from rdrkd.client.wire import Spec
from rdrkd.epochs import Part

Kind = Literal["dataset", "model"]


class AsyncClient(AsyncDriver):
    """A connection to the service.

    Args:
        url: the service's base URL.
        token: the service's token or an API key; None for a local service that needs none.
        transport: transport for the requests, such as an ASGI application; default: a new connection.
        headers: additional headers for every request.
        patient: whether to wait and retry if the service is busy or does not answer.
    """

    # -- any endpoint

    async def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of any endpoint; parameters that are None are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        return (await self._run(calls.ask("GET", path, params=given, headers={"Accept": "application/json"}))).json()

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON to any endpoint; return the JSON of the response, or None if it is empty."""
        answer = await self._run(calls.ask(method, path, json=body))
        return answer.json() if answer.content else None

    async def whoami(self) -> dict[str, Any]:
        """Return the caller's identity as the service sees it: key, owner and scope."""
        return dict(await self._run(calls.plain("/v1/whoami")))

    # -- jobs

    async def submit(self, spec: Spec) -> Job:
        """Submit a job."""
        return await self._run(calls.one(Job.model_validate, "POST", "/v1/jobs", dict(spec)))

    async def job(self, job_id: str) -> Job:
        """Return a job."""
        return await self._run(calls.one(Job.model_validate, "GET", f"/v1/jobs/{job_id}"))

    async def jobs(self, **filters: Any) -> AsyncIterator[Job]:
        """List jobs, newest first, with the filters of `GET /v1/jobs`."""
        async for row in self._pages("/v1/jobs", filters):
            yield Job.model_validate(row)

    async def wait(self, job_id: str, timeout: float | None = None, news: Callable[[Job], None] | None = None) -> Job:
        """Poll a job until it has ended; call `news` with each new state.

        Raises:
            NotEnded: the job has not ended after `timeout` seconds.
        """
        return await self._run(calls.wait(f"/v1/jobs/{job_id}", Job.model_validate, timeout, news))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job."""
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/cancel"))

    async def validate(self, spec: Spec) -> dict[str, Any]:
        """Validate a job without submitting it: return the resolved spec, findings and an estimate."""
        return dict((await self._run(calls.ask("POST", "/v1/jobs/validate", json=dict(spec)))).json())

    async def retry(self, job_id: str, scratch: bool = False) -> Job:
        """Retry a failed or cancelled job, from its newest checkpoint or from scratch."""
        body = {"from": "scratch" if scratch else "checkpoint"}
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/retry", body))

    async def pause(self, job_id: str, now: bool = False) -> Job:
        """Pause a job after its current epoch; `now` pauses at once and discards that epoch."""
        body = {"checkpoint": "latest" if now else "save"}
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/pause", body))

    async def resume(self, job_id: str) -> Job:
        """Resume a paused job."""
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/resume"))

    async def delete(self, job_id: str, keep_weights: bool = False) -> None:
        """Delete an ended or paused job and its files; `keep_weights` keeps its weights."""
        params = {"keep": "weights"} if keep_weights else {}
        await self._run(calls.ask("DELETE", f"/v1/jobs/{job_id}", params=params))

    async def logs(self, job_id: str, tail: int | None = None) -> str:
        """Return the output of a job's trainers; `tail` limits it to the last lines."""
        params = {} if tail is None else {"tail": tail}
        return (await self._run(calls.ask("GET", f"/v1/jobs/{job_id}/logs", params=params))).content.decode()

    async def log_page(self, job_id: str, after: str = "0-0") -> dict[str, Any]:
        """Return a page of a job's output, the lines after the cursor `after`: `data`, `has_more` and `next`."""
        asked = calls.ask(
            "GET", f"/v1/jobs/{job_id}/logs", params={"after": after}, headers={"Accept": "application/json"}
        )
        return dict((await self._run(asked)).json())

    async def events(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Return up to 1 000 events of a job that follow the event with sequence number `after`."""
        params = {"after": after, "limit": 1000}
        return list((await self._run(calls.ask("GET", f"/v1/jobs/{job_id}/events", params=params))).json()["data"])

    async def metrics(self, job_id: str, part: Part | None = "student") -> list[dict[str, Any]]:
        """Return the metrics of the student's finished epochs, of the student alone (`alone`), or of both (None)."""
        params = {} if part is None else {"part": part}
        return list((await self._run(calls.ask("GET", f"/v1/jobs/{job_id}/metrics", params=params))).json()["data"])

    async def artifacts(self, job_id: str) -> list[Artifact]:
        """List the artifacts of a job."""
        return [
            Artifact.model_validate(row)
            for row in (await self._run(calls.plain(f"/v1/jobs/{job_id}/artifacts")))["data"]
        ]

    async def download_weights(
        self,
        job_id: str,
        target: str | Path,
        format: Literal["pt", "safetensors"] = "pt",
        progress: Progress | None = None,
    ) -> Path:
        """Download a job's newest weights, available from its first checkpoint; resumes after a dropped connection."""
        address, params = f"/v1/jobs/{job_id}/weights", {"format": format}
        return await self._run(transfers.download(address, Path(target), progress, params))

    async def download_artifact(
        self, job_id: str, name: str, target: str | Path, progress: Progress | None = None
    ) -> Path:
        """Download an artifact of a job; resumes after a dropped connection."""
        return await self._run(transfers.download(f"/v1/jobs/{job_id}/artifacts/{name}", Path(target), progress, {}))

    # -- datasets and models

    async def upload_dataset(
        self,
        path: str | Path,
        name: str | None = None,
        progress: Progress | None = None,
        resume: str | None = None,
        lenient: bool = False,
        keep: bool = False,
        divide: str | None = None,
    ) -> Dataset:
        """Upload a dataset; resumes after a dropped connection, or in another process with `resume`.

        A name that exists gets a new version. `lenient` leaves out faulty images, label lines and annotations instead
        of rejecting the dataset, and lists them in the report's `dropped`; `keep` keeps images that lose a box.
        `divide` divides a dataset that has no split: `val=0.2,test=0.1,seed=3,prefix=_`.
        """
        words = calls.words(lenient, keep, divide)
        sent = await self._run(transfers.upload(Path(path), "dataset", name, progress, resume, words))
        return Dataset.model_validate(sent)

    async def import_dataset(
        self,
        source: str,
        name: str | None = None,
        lenient: bool = False,
        keep: bool = False,
        divide: str | None = None,
    ) -> Dataset:
        """Import a dataset from a source that the operator allows: a server folder NAME/PATH or s3://bucket/prefix."""
        path, body = calls.imported(source, name, calls.words(lenient, keep, divide))
        return await self._run(calls.one(Dataset.model_validate, "POST", path, body))

    async def dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset."""
        return await self._run(calls.one(Dataset.model_validate, "GET", f"/v1/datasets/{dataset_id}"))

    async def datasets(
        self, name: str | None = None, sha256: str | None = None, shared: bool | None = None
    ) -> AsyncIterator[Dataset]:
        """List datasets, newest first; filter by name, content hash, or whether others share them with you."""
        async for row in self._pages("/v1/datasets", {"name": name, "sha256": sha256, "shared": shared}):
            yield Dataset.model_validate(row)

    async def download_preview(self, dataset_id: str, target: str | Path) -> Path:
        """Download a JPEG that shows some of a dataset's images with their boxes."""
        return await self._run(transfers.download(f"/v1/datasets/{dataset_id}/preview", Path(target), None, {}))

    async def wait_dataset(self, dataset_id: str, timeout: float | None = None) -> Dataset:
        """Poll a dataset until a worker has checked it."""
        return await self._run(calls.wait(f"/v1/datasets/{dataset_id}", Dataset.model_validate, timeout, None))

    async def upload_model(
        self, path: str | Path, name: str | None = None, progress: Progress | None = None, resume: str | None = None
    ) -> Model:
        """Upload a model; resumes after a dropped connection, or in another process with `resume`."""
        return Model.model_validate(await self._run(transfers.upload(Path(path), "model", name, progress, resume)))

    async def model(self, model_id: str) -> Model:
        """Return a model."""
        return await self._run(calls.one(Model.model_validate, "GET", f"/v1/models/{model_id}"))

    async def models(self, **filters: Any) -> AsyncIterator[Model]:
        """List models, newest first, with the filters of `GET /v1/models`."""
        async for row in self._pages("/v1/models", filters):
            yield Model.model_validate(row)

    async def wait_model(self, model_id: str, timeout: float | None = None) -> Model:
        """Poll a model until a worker has checked it."""
        return await self._run(calls.wait(f"/v1/models/{model_id}", Model.model_validate, timeout, None))

    async def register(self, job_id: str, name: str | None = None, aliases: Sequence[str] = ()) -> Model:
        """Register a job's student as the next version of a model name, and move the aliases to it."""
        body = {"aliases": list(aliases)} | ({"name": name} if name is not None else {})
        return await self._run(calls.one(Model.model_validate, "POST", f"/v1/jobs/{job_id}/register", body))

    async def move_alias(self, model_id: str, alias: str) -> Model:
        """Move an alias of the model's name to this version."""
        return await self._run(calls.one(Model.model_validate, "PUT", f"/v1/models/{model_id}/aliases/{alias}"))

    async def delete_alias(self, model_id: str, alias: str) -> None:
        """Remove an alias from this version."""
        await self._run(calls.ask("DELETE", f"/v1/models/{model_id}/aliases/{alias}"))

    async def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset that no job and no study refers to."""
        await self._run(calls.ask("DELETE", f"/v1/datasets/{dataset_id}"))

    async def delete_model(self, model_id: str) -> None:
        """Delete a model that no job, no study and no alias refers to."""
        await self._run(calls.ask("DELETE", f"/v1/models/{model_id}"))

    async def share(self, kind: Kind, id_: str, reader: str) -> list[dict[str, Any]]:
        """Share a dataset or model with an owner, or with everyone, `*`; return its shares."""
        answer = await self._run(calls.ask("PUT", calls.share_of(kind, id_, reader)))
        return list(answer.json()["data"])

    async def unshare(self, kind: Kind, id_: str, reader: str) -> None:
        """Stop sharing a dataset or model with an owner, or with everyone, `*`."""
        await self._run(calls.ask("DELETE", calls.share_of(kind, id_, reader)))

    async def shares(self, kind: Kind, id_: str) -> list[dict[str, Any]]:
        """List the shares of a dataset or model of yours."""
        return list((await self._run(calls.plain(calls.share_of(kind, id_))))["data"])

    async def download_model(
        self,
        model_id: str,
        target: str | Path,
        format: Literal["pt", "safetensors"] = "pt",
        progress: Progress | None = None,
    ) -> Path:
        """Download a ready model in either format; resumes after a dropped connection."""
        address, params = f"/v1/models/{model_id}/weights", {"format": format}
        return await self._run(transfers.download(address, Path(target), progress, params))

    # -- studies

    async def submit_study(self, spec: Spec) -> Study:
        """Submit a study."""
        return await self._run(calls.one(Study.model_validate, "POST", "/v1/studies", dict(spec)))

    async def validate_study(self, spec: Spec) -> dict[str, Any]:
        """Validate a study without submitting it: return its findings, methods and number of jobs."""
        return dict((await self._run(calls.ask("POST", "/v1/studies/validate", json=dict(spec)))).json())

    async def study(self, study_id: str) -> Study:
        """Return a study with its members."""
        return await self._run(calls.one(Study.model_validate, "GET", f"/v1/studies/{study_id}"))

    async def studies(self) -> AsyncIterator[Study]:
        """List studies, newest first."""
        async for row in self._pages("/v1/studies", {}):
            yield Study.model_validate(row)

    async def wait_study(
        self, study_id: str, timeout: float | None = None, news: Callable[[Study], None] | None = None
    ) -> Study:
        """Poll a study until it has ended; call `news` with each new state."""
        return await self._run(calls.wait(f"/v1/studies/{study_id}", Study.model_validate, timeout, news))

    async def cancel_study(self, study_id: str) -> Study:
        """Cancel every member of a study."""
        return await self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/cancel"))

    async def resume_study(self, study_id: str) -> Study:
        """Resume a study: retry its failed and cancelled members."""
        return await self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/resume"))

    async def extend_study(self, study_id: str, more: Spec) -> Study:
        """Add methods or seeds to a study."""
        return await self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/extend", dict(more)))

    async def draw_report(self, study_id: str) -> Job:
        """Queue a report of the members that have succeeded so far; return the pending report job if there is one."""
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/studies/{study_id}/report"))

    async def delete_study(self, study_id: str) -> None:
        """Delete a study, its ended or paused jobs, and their files."""
        await self._run(calls.ask("DELETE", f"/v1/studies/{study_id}"))

    async def download_report(self, study_id: str, target: str | Path, format: str = "html") -> Path:
        """Download a study's newest report as html, markdown, csv or json."""
        address, params = f"/v1/studies/{study_id}/report", {"format": format}
        return await self._run(transfers.fetch(address, Path(target), params))

    # -- webhooks

    async def create_webhook(
        self, url: str, events: Sequence[str] | None = None, name: str | None = None
    ) -> dict[str, Any]:
        """Create a webhook; the response's `secret` is shown only once."""
        body = {"url": url, "name": name} | ({"events": list(events)} if events else {})
        return dict((await self._run(calls.ask("POST", "/v1/webhooks", json=body))).json())

    async def webhooks(self) -> AsyncIterator[dict[str, Any]]:
        """List webhooks, newest first."""
        async for row in self._pages("/v1/webhooks", {}):
            yield row

    async def webhook(self, webhook_id: str) -> dict[str, Any]:
        """Return a webhook."""
        return dict(await self._run(calls.plain(f"/v1/webhooks/{webhook_id}")))

    async def enable_webhook(self, webhook_id: str) -> dict[str, Any]:
        """Enable a webhook that was disabled, for events from now on."""
        asked = calls.ask("PATCH", f"/v1/webhooks/{webhook_id}", json={"enabled": True})
        return dict((await self._run(asked)).json())

    async def test_webhook(self, webhook_id: str) -> dict[str, Any]:
        """Queue a test message; return its delivery."""
        return dict((await self._run(calls.ask("POST", f"/v1/webhooks/{webhook_id}/test"))).json())

    async def rotate_webhook(self, webhook_id: str) -> dict[str, Any]:
        """Replace a webhook's signing secret; the response's `secret` is shown only once."""
        return dict((await self._run(calls.ask("POST", f"/v1/webhooks/{webhook_id}/rotate"))).json())

    async def webhook_deliveries(self, webhook_id: str) -> AsyncIterator[dict[str, Any]]:
        """List a webhook's deliveries, newest first."""
        async for row in self._pages(f"/v1/webhooks/{webhook_id}/deliveries", {}):
            yield row

    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook."""
        await self._run(calls.ask("DELETE", f"/v1/webhooks/{webhook_id}"))

    # -- the service

    async def methods(self) -> list[dict[str, Any]]:
        """List the loss terms, each with the JSON Schema of its parameters."""
        return list((await self._run(calls.plain("/v1/methods")))["data"])

    async def workers(self) -> list[dict[str, Any]]:
        """List the workers and what each is doing."""
        return list((await self._run(calls.plain("/v1/workers")))["data"])

    async def queue(self) -> dict[str, Any]:
        """Return the number of jobs in each state, and the next one to run."""
        return dict(await self._run(calls.plain("/v1/queue")))

    async def usage(self) -> dict[str, Any]:
        """Return stored and reserved bytes against the quota; for an admin also by owner, disk and cache."""
        return dict(await self._run(calls.plain("/v1/usage")))

    async def create_key(
        self, name: str, owner: str, scope: str = "submit", expires_at: datetime | None = None
    ) -> dict[str, Any]:
        """Create an API key; the response's `key` is shown only once."""
        end = None if expires_at is None else expires_at.isoformat()
        body = {"name": name, "owner": owner, "scope": scope, "expires_at": end}
        return dict((await self._run(calls.ask("POST", "/v1/api-keys", json=body))).json())

    async def keys(self) -> AsyncIterator[dict[str, Any]]:
        """List the API keys, newest first."""
        async for row in self._pages("/v1/api-keys", {}):
            yield row

    async def revoke_key(self, key_id: str) -> dict[str, Any]:
        """Revoke an API key."""
        return dict((await self._run(calls.ask("DELETE", f"/v1/api-keys/{key_id}"))).json())

    async def version(self) -> dict[str, Any]:
        """Return the service's versions."""
        return dict(await self._run(calls.plain("/v1/version")))

    async def readiness(self) -> dict[str, Any]:
        """Return the service's readiness; raise `Refused` when it is not ready."""
        return dict(await self._run(calls.plain("/readyz")))

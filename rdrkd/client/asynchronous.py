"""The client for programs that do other things meanwhile: the methods of `Client`, to be awaited."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx2

from rdrkd.client import calls, transfers
from rdrkd.client.effects import CHUNK, Answer, Ask, Broken, Call, Piece, Progress, Sleep, elsewhere
from rdrkd.client.synchronous import TIMEOUT, Spec, headers_of, is_local
from rdrkd.client.views import Artifact, Dataset, Job, Model, Study

T = TypeVar("T")


class AsyncClient:
    """A connection to the service.

    Args:
        url: where the service is.
        token: its token or an API key; None: a service on this machine without one.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT, trust_env=not is_local(url))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    # -- jobs

    async def submit(self, spec: Spec) -> Job:
        """Queue a job."""
        return await self._run(calls.one(Job.model_validate, "POST", "/v1/jobs", dict(spec)))

    async def job(self, job_id: str) -> Job:
        """Read a job."""
        return await self._run(calls.one(Job.model_validate, "GET", f"/v1/jobs/{job_id}"))

    async def jobs(self, **filters: Any) -> AsyncIterator[Job]:
        """List jobs, newest first; filters as of `GET /v1/jobs`."""
        async for row in self._pages("/v1/jobs", filters):
            yield Job.model_validate(row)

    async def wait(self, job_id: str, timeout: float | None = None, news: Callable[[Job], None] | None = None) -> Job:
        """Follow a job to its end; `news` is called with each new state.

        Raises:
            NotEnded: `timeout` seconds are over.
        """
        return await self._run(calls.wait(f"/v1/jobs/{job_id}", Job.model_validate, timeout, news))

    async def cancel(self, job_id: str) -> Job:
        """Ask a job to end."""
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/cancel"))

    async def validate(self, spec: Spec) -> dict[str, Any]:
        """Try a job on paper: its defaults, what the checks tell of it, what jobs that were alike have taken."""
        return dict((await self._run(calls.ask("POST", "/v1/jobs/validate", json=dict(spec)))).json())

    async def retry(self, job_id: str, scratch: bool = False) -> Job:
        """Let a job that has failed or was cancelled go on, from its newest checkpoint or from scratch."""
        body = {"from": "scratch" if scratch else "checkpoint"}
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/retry", body))

    async def pause(self, job_id: str, now: bool = False) -> Job:
        """Hold a job back once its epoch is done; `now`: at once, and what was done of the epoch is lost."""
        body = {"checkpoint": "latest" if now else "save"}
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/pause", body))

    async def resume(self, job_id: str) -> Job:
        """Queue a paused job again."""
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/resume"))

    async def delete(self, job_id: str, keep_weights: bool = False) -> None:
        """Delete a job that has ended or is paused, with its files; its weights may stay."""
        params = {"keep": "weights"} if keep_weights else {}
        await self._run(calls.ask("DELETE", f"/v1/jobs/{job_id}", params=params))

    async def logs(self, job_id: str, tail: int | None = None) -> str:
        """Read what the trainers of a job have printed; `tail`: the last lines, so many."""
        params = {} if tail is None else {"tail": tail}
        return (await self._run(calls.ask("GET", f"/v1/jobs/{job_id}/logs", params=params))).content.decode()

    async def events(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Read what has happened to a job after the event with this `seq`; at most a thousand events."""
        params = {"after": after, "limit": 1000}
        return list((await self._run(calls.ask("GET", f"/v1/jobs/{job_id}/events", params=params))).json()["data"])

    async def metrics(self, job_id: str) -> list[dict[str, Any]]:
        """Read every finished epoch of a job."""
        return list((await self._run(calls.plain(f"/v1/jobs/{job_id}/metrics")))["data"])

    async def artifacts(self, job_id: str) -> list[Artifact]:
        """List the files that a job has published."""
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
        """Fetch a job's newest weights, from its first checkpoint on; a broken download goes on."""
        address, params = f"/v1/jobs/{job_id}/weights", {"format": format}
        return await self._run(transfers.download(address, Path(target), progress, params))

    async def download_artifact(
        self, job_id: str, name: str, target: str | Path, progress: Progress | None = None
    ) -> Path:
        """Fetch a file that a job has published."""
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
        """Send a dataset; a broken connection is gone on with, also by `resume` in another process.

        Under a name that there is already it becomes its next version. `lenient`: what is at fault in it is left out,
        and listed in the report's `dropped`; with `keep` images that lose a box stay. `divide`: how to divide a dataset
        without a split, `val=0.2,test=0.1,seed=3,prefix=_`.
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
        """Make a dataset of what its operator allows: NAME/PATH of a folder on its machine, or s3://bucket/prefix."""
        path, body = calls.imported(source, name, calls.words(lenient, keep, divide))
        return await self._run(calls.one(Dataset.model_validate, "POST", path, body))

    async def dataset(self, dataset_id: str) -> Dataset:
        """Read a dataset."""
        return await self._run(calls.one(Dataset.model_validate, "GET", f"/v1/datasets/{dataset_id}"))

    async def datasets(self, name: str | None = None) -> AsyncIterator[Dataset]:
        """List datasets, newest first; `name`: its versions only."""
        async for row in self._pages("/v1/datasets", {"name": name}):
            yield Dataset.model_validate(row)

    async def download_preview(self, dataset_id: str, target: str | Path) -> Path:
        """Fetch the picture of some of a dataset's images with their boxes, a JPEG."""
        return await self._run(transfers.download(f"/v1/datasets/{dataset_id}/preview", Path(target), None, {}))

    async def wait_dataset(self, dataset_id: str, timeout: float | None = None) -> Dataset:
        """Wait until a worker has checked a dataset."""
        return await self._run(calls.wait(f"/v1/datasets/{dataset_id}", Dataset.model_validate, timeout, None))

    async def upload_model(
        self, path: str | Path, name: str | None = None, progress: Progress | None = None, resume: str | None = None
    ) -> Model:
        """Send a model; a broken connection is gone on with, also by `resume` in another process."""
        return Model.model_validate(await self._run(transfers.upload(Path(path), "model", name, progress, resume)))

    async def model(self, model_id: str) -> Model:
        """Read a model."""
        return await self._run(calls.one(Model.model_validate, "GET", f"/v1/models/{model_id}"))

    async def models(self, **filters: Any) -> AsyncIterator[Model]:
        """List models, newest first; filters as of `GET /v1/models`."""
        async for row in self._pages("/v1/models", filters):
            yield Model.model_validate(row)

    async def wait_model(self, model_id: str, timeout: float | None = None) -> Model:
        """Wait until a worker has checked a model."""
        return await self._run(calls.wait(f"/v1/models/{model_id}", Model.model_validate, timeout, None))

    async def register(self, job_id: str, name: str | None = None, aliases: Sequence[str] = ()) -> Model:
        """Make a model of a job's student: the next version of its name; the aliases mean it from here on."""
        body = {"aliases": list(aliases)} | ({"name": name} if name is not None else {})
        return await self._run(calls.one(Model.model_validate, "POST", f"/v1/jobs/{job_id}/register", body))

    async def move_alias(self, model_id: str, alias: str) -> Model:
        """Let an alias of the model's name mean this version."""
        return await self._run(calls.one(Model.model_validate, "PUT", f"/v1/models/{model_id}/aliases/{alias}"))

    async def delete_alias(self, model_id: str, alias: str) -> None:
        """Forget an alias that means this version."""
        await self._run(calls.ask("DELETE", f"/v1/models/{model_id}/aliases/{alias}"))

    async def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset that no job and no study names."""
        await self._run(calls.ask("DELETE", f"/v1/datasets/{dataset_id}"))

    async def delete_model(self, model_id: str) -> None:
        """Delete a model that no job, no study and no alias names."""
        await self._run(calls.ask("DELETE", f"/v1/models/{model_id}"))

    async def download_model(
        self,
        model_id: str,
        target: str | Path,
        format: Literal["pt", "safetensors"] = "pt",
        progress: Progress | None = None,
    ) -> Path:
        """Fetch a model that is ready, in either format; a broken download goes on."""
        address, params = f"/v1/models/{model_id}/weights", {"format": format}
        return await self._run(transfers.download(address, Path(target), progress, params))

    # -- studies

    async def submit_study(self, spec: Spec) -> Study:
        """Queue a study."""
        return await self._run(calls.one(Study.model_validate, "POST", "/v1/studies", dict(spec)))

    async def study(self, study_id: str) -> Study:
        """Read a study with its members."""
        return await self._run(calls.one(Study.model_validate, "GET", f"/v1/studies/{study_id}"))

    async def studies(self) -> AsyncIterator[Study]:
        """List studies, newest first."""
        async for row in self._pages("/v1/studies", {}):
            yield Study.model_validate(row)

    async def wait_study(
        self, study_id: str, timeout: float | None = None, news: Callable[[Study], None] | None = None
    ) -> Study:
        """Follow a study to its end."""
        return await self._run(calls.wait(f"/v1/studies/{study_id}", Study.model_validate, timeout, news))

    async def cancel_study(self, study_id: str) -> Study:
        """Ask every member of a study to end."""
        return await self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/cancel"))

    async def resume_study(self, study_id: str) -> Study:
        """Queue again what has failed or was cancelled of a study."""
        return await self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/resume"))

    async def extend_study(self, study_id: str, more: Spec) -> Study:
        """Add methods or seeds to a study."""
        return await self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/extend", dict(more)))

    async def draw_report(self, study_id: str) -> Job:
        """Have a study's report drawn of the members that have succeeded by now; one that does so already stands."""
        return await self._run(calls.one(Job.model_validate, "POST", f"/v1/studies/{study_id}/report"))

    async def delete_study(self, study_id: str) -> None:
        """Delete a study with its jobs, which have ended or are paused, and their files."""
        await self._run(calls.ask("DELETE", f"/v1/studies/{study_id}"))

    async def download_report(self, study_id: str, target: str | Path, format: str = "html") -> Path:
        """Fetch a study's newest report: html, markdown, csv or json."""
        address, params = f"/v1/studies/{study_id}/report", {"format": format}
        return await self._run(transfers.fetch(address, Path(target), params))

    # -- the service

    async def methods(self) -> list[dict[str, Any]]:
        """List the loss terms with the JSON Schema of their parameters."""
        return list((await self._run(calls.plain("/v1/methods")))["data"])

    async def workers(self) -> list[dict[str, Any]]:
        """List the workers, with what they do."""
        return list((await self._run(calls.plain("/v1/workers")))["data"])

    async def queue(self) -> dict[str, Any]:
        """Say how many jobs are where, and which is next."""
        return dict(await self._run(calls.plain("/v1/queue")))

    async def usage(self) -> dict[str, Any]:
        """Say what is stored and reserved, against the quota; to an admin also of everybody, disk and caches."""
        return dict(await self._run(calls.plain("/v1/usage")))

    async def create_key(
        self, name: str, owner: str, scope: str = "submit", expires_at: datetime | None = None
    ) -> dict[str, Any]:
        """Make an API key; `key` of the answer is the key, which is never shown again."""
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
        """Say what runs there."""
        return dict(await self._run(calls.plain("/v1/version")))

    async def readiness(self) -> dict[str, Any]:
        """Say whether the service can do its work; one that cannot is `Refused`."""
        return dict(await self._run(calls.plain("/readyz")))

    # -- the driver

    async def _pages(self, path: str, filters: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = await self._run(calls.page(path, filters, after))
            for row in page.data:
                yield row
            if (after := page.next) is None:
                return

    async def _run(self, call: Call[T]) -> T:
        """Perform what a call wants, until it gives its result."""
        try:
            wish = next(call)
            while True:
                try:
                    result = await self._perform(wish)
                except (httpx2.TransportError, Broken) as error:
                    wish = call.throw(Broken(f"{type(error).__name__}: {error}"))
                else:
                    wish = call.send(result)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            call.close()  # a task that is cancelled leaves no file open

    async def _perform(self, wish: Ask | Sleep) -> Answer | None:
        if isinstance(wish, Sleep):
            await asyncio.sleep(wish.seconds)
            return None
        body = {"content": _chunks(wish.piece)} if wish.piece else {"json": wish.json} if wish.json is not None else {}
        async with self._http.stream(
            wish.method, wish.path, params=dict(wish.params), headers=headers_of(wish), **body
        ) as answer:
            onward = elsewhere(wish, answer.status_code, answer.headers)
            if onward is None:
                return await _take(wish, answer)
        address, headers = onward
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT, trust_env=not is_local(address)) as other,  # which has no key
            other.stream("GET", address, headers=headers) as content,
        ):
            if not content.is_success:  # such as an address that has expired: the service gives another
                raise Broken(f"{httpx2.URL(address).host} answered {content.status_code}")
            taken = await _take(wish, content)
        return Answer(taken.status, answer.headers, taken.content)


async def _take(wish: Ask, answer: httpx2.Response) -> Answer:
    """Read an answer's body, to where the wish has it go."""
    if wish.sink is None or not answer.is_success:
        return Answer(answer.status_code, answer.headers, await answer.aread())
    file, done = wish.sink(answer.status_code, answer.headers), 0
    async for chunk in answer.aiter_bytes(CHUNK):
        await asyncio.to_thread(file.write, chunk)
        done += len(chunk)
        if wish.progress is not None:
            wish.progress(done)
    return Answer(answer.status_code, answer.headers, b"")


async def _chunks(piece: Piece) -> AsyncIterator[bytes]:
    piece.file.seek(piece.offset)
    done = piece.offset
    while chunk := await asyncio.to_thread(piece.file.read, CHUNK):
        yield chunk
        done += len(chunk)
        if piece.progress is not None:
            piece.progress(done, piece.length)

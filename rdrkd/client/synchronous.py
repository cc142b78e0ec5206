"""The client for programs that wait."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx2

from rdrkd.client import calls, transfers
from rdrkd.client.effects import CHUNK, Answer, Ask, Broken, Call, Piece, Progress, Sleep, elsewhere
from rdrkd.client.views import Artifact, Dataset, Job, Model, Study

T = TypeVar("T")
Spec = Mapping[str, Any]
TIMEOUT = httpx2.Timeout(60.0, connect=10.0)


class Client:
    """A connection to the service.

    Args:
        url: where the service is.
        token: its token or an API key; None: a service on this machine without one.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT, trust_env=not is_local(url))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # -- jobs

    def submit(self, spec: Spec) -> Job:
        """Queue a job."""
        return self._run(calls.one(Job.model_validate, "POST", "/v1/jobs", dict(spec)))

    def job(self, job_id: str) -> Job:
        """Read a job."""
        return self._run(calls.one(Job.model_validate, "GET", f"/v1/jobs/{job_id}"))

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """List jobs, newest first; filters as of `GET /v1/jobs`."""
        yield from map(Job.model_validate, self._pages("/v1/jobs", filters))

    def wait(self, job_id: str, timeout: float | None = None, news: Callable[[Job], None] | None = None) -> Job:
        """Follow a job to its end; `news` is called with each new state.

        Raises:
            NotEnded: `timeout` seconds are over.
        """
        return self._run(calls.wait(f"/v1/jobs/{job_id}", Job.model_validate, timeout, news))

    def cancel(self, job_id: str) -> Job:
        """Ask a job to end."""
        return self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/cancel"))

    def validate(self, spec: Spec) -> dict[str, Any]:
        """Try a job on paper: its defaults, what the checks tell of it, what jobs that were alike have taken."""
        return dict((self._run(calls.ask("POST", "/v1/jobs/validate", json=dict(spec)))).json())

    def retry(self, job_id: str, scratch: bool = False) -> Job:
        """Let a job that has failed or was cancelled go on, from its newest checkpoint or from scratch."""
        body = {"from": "scratch" if scratch else "checkpoint"}
        return self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/retry", body))

    def pause(self, job_id: str, now: bool = False) -> Job:
        """Hold a job back once its epoch is done; `now`: at once, and what was done of the epoch is lost."""
        body = {"checkpoint": "latest" if now else "save"}
        return self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/pause", body))

    def resume(self, job_id: str) -> Job:
        """Queue a paused job again."""
        return self._run(calls.one(Job.model_validate, "POST", f"/v1/jobs/{job_id}/resume"))

    def delete(self, job_id: str, keep_weights: bool = False) -> None:
        """Delete a job that has ended or is paused, with its files; its weights may stay."""
        params = {"keep": "weights"} if keep_weights else {}
        self._run(calls.ask("DELETE", f"/v1/jobs/{job_id}", params=params))

    def logs(self, job_id: str, tail: int | None = None) -> str:
        """Read what the trainers of a job have printed; `tail`: the last lines, so many."""
        params = {} if tail is None else {"tail": tail}
        return (self._run(calls.ask("GET", f"/v1/jobs/{job_id}/logs", params=params))).content.decode()

    def events(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Read what has happened to a job after the event with this `seq`; at most a thousand events."""
        params = {"after": after, "limit": 1000}
        return list((self._run(calls.ask("GET", f"/v1/jobs/{job_id}/events", params=params))).json()["data"])

    def metrics(self, job_id: str) -> list[dict[str, Any]]:
        """Read every finished epoch of a job."""
        return list(self._run(calls.plain(f"/v1/jobs/{job_id}/metrics"))["data"])

    def artifacts(self, job_id: str) -> list[Artifact]:
        """List the files that a job has published."""
        return [Artifact.model_validate(row) for row in self._run(calls.plain(f"/v1/jobs/{job_id}/artifacts"))["data"]]

    def download_weights(
        self,
        job_id: str,
        target: str | Path,
        format: Literal["pt", "safetensors"] = "pt",
        progress: Progress | None = None,
    ) -> Path:
        """Fetch a job's newest weights, from its first checkpoint on; a broken download goes on."""
        address, params = f"/v1/jobs/{job_id}/weights", {"format": format}
        return self._run(transfers.download(address, Path(target), progress, params))

    def download_artifact(self, job_id: str, name: str, target: str | Path, progress: Progress | None = None) -> Path:
        """Fetch a file that a job has published."""
        return self._run(transfers.download(f"/v1/jobs/{job_id}/artifacts/{name}", Path(target), progress, {}))

    # -- datasets and models

    def upload_dataset(
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
        sent = self._run(transfers.upload(Path(path), "dataset", name, progress, resume, words))
        return Dataset.model_validate(sent)

    def import_dataset(
        self,
        source: str,
        name: str | None = None,
        lenient: bool = False,
        keep: bool = False,
        divide: str | None = None,
    ) -> Dataset:
        """Make a dataset of what its operator allows: NAME/PATH of a folder on its machine, or s3://bucket/prefix."""
        path, body = calls.imported(source, name, calls.words(lenient, keep, divide))
        return self._run(calls.one(Dataset.model_validate, "POST", path, body))

    def dataset(self, dataset_id: str) -> Dataset:
        """Read a dataset."""
        return self._run(calls.one(Dataset.model_validate, "GET", f"/v1/datasets/{dataset_id}"))

    def datasets(self, name: str | None = None) -> Iterator[Dataset]:
        """List datasets, newest first; `name`: its versions only."""
        yield from map(Dataset.model_validate, self._pages("/v1/datasets", {"name": name}))

    def download_preview(self, dataset_id: str, target: str | Path) -> Path:
        """Fetch the picture of some of a dataset's images with their boxes, a JPEG."""
        return self._run(transfers.download(f"/v1/datasets/{dataset_id}/preview", Path(target), None, {}))

    def wait_dataset(self, dataset_id: str, timeout: float | None = None) -> Dataset:
        """Wait until a worker has checked a dataset."""
        return self._run(calls.wait(f"/v1/datasets/{dataset_id}", Dataset.model_validate, timeout, None))

    def upload_model(
        self, path: str | Path, name: str | None = None, progress: Progress | None = None, resume: str | None = None
    ) -> Model:
        """Send a model; a broken connection is gone on with, also by `resume` in another process."""
        return Model.model_validate(self._run(transfers.upload(Path(path), "model", name, progress, resume)))

    def model(self, model_id: str) -> Model:
        """Read a model."""
        return self._run(calls.one(Model.model_validate, "GET", f"/v1/models/{model_id}"))

    def models(self, **filters: Any) -> Iterator[Model]:
        """List models, newest first; filters as of `GET /v1/models`."""
        yield from map(Model.model_validate, self._pages("/v1/models", filters))

    def wait_model(self, model_id: str, timeout: float | None = None) -> Model:
        """Wait until a worker has checked a model."""
        return self._run(calls.wait(f"/v1/models/{model_id}", Model.model_validate, timeout, None))

    def register(self, job_id: str, name: str | None = None, aliases: Sequence[str] = ()) -> Model:
        """Make a model of a job's student: the next version of its name; the aliases mean it from here on."""
        body = {"aliases": list(aliases)} | ({"name": name} if name is not None else {})
        return self._run(calls.one(Model.model_validate, "POST", f"/v1/jobs/{job_id}/register", body))

    def move_alias(self, model_id: str, alias: str) -> Model:
        """Let an alias of the model's name mean this version."""
        return self._run(calls.one(Model.model_validate, "PUT", f"/v1/models/{model_id}/aliases/{alias}"))

    def delete_alias(self, model_id: str, alias: str) -> None:
        """Forget an alias that means this version."""
        self._run(calls.ask("DELETE", f"/v1/models/{model_id}/aliases/{alias}"))

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset that no job and no study names."""
        self._run(calls.ask("DELETE", f"/v1/datasets/{dataset_id}"))

    def delete_model(self, model_id: str) -> None:
        """Delete a model that no job, no study and no alias names."""
        self._run(calls.ask("DELETE", f"/v1/models/{model_id}"))

    def download_model(
        self,
        model_id: str,
        target: str | Path,
        format: Literal["pt", "safetensors"] = "pt",
        progress: Progress | None = None,
    ) -> Path:
        """Fetch a model that is ready, in either format; a broken download goes on."""
        address, params = f"/v1/models/{model_id}/weights", {"format": format}
        return self._run(transfers.download(address, Path(target), progress, params))

    # -- studies

    def submit_study(self, spec: Spec) -> Study:
        """Queue a study."""
        return self._run(calls.one(Study.model_validate, "POST", "/v1/studies", dict(spec)))

    def study(self, study_id: str) -> Study:
        """Read a study with its members."""
        return self._run(calls.one(Study.model_validate, "GET", f"/v1/studies/{study_id}"))

    def studies(self) -> Iterator[Study]:
        """List studies, newest first."""
        yield from map(Study.model_validate, self._pages("/v1/studies", {}))

    def wait_study(
        self, study_id: str, timeout: float | None = None, news: Callable[[Study], None] | None = None
    ) -> Study:
        """Follow a study to its end."""
        return self._run(calls.wait(f"/v1/studies/{study_id}", Study.model_validate, timeout, news))

    def cancel_study(self, study_id: str) -> Study:
        """Ask every member of a study to end."""
        return self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/cancel"))

    def resume_study(self, study_id: str) -> Study:
        """Queue again what has failed or was cancelled of a study."""
        return self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/resume"))

    def extend_study(self, study_id: str, more: Spec) -> Study:
        """Add methods or seeds to a study."""
        return self._run(calls.one(Study.model_validate, "POST", f"/v1/studies/{study_id}/extend", dict(more)))

    def draw_report(self, study_id: str) -> Job:
        """Have a study's report drawn of the members that have succeeded by now; one that does so already stands."""
        return self._run(calls.one(Job.model_validate, "POST", f"/v1/studies/{study_id}/report"))

    def delete_study(self, study_id: str) -> None:
        """Delete a study with its jobs, which have ended or are paused, and their files."""
        self._run(calls.ask("DELETE", f"/v1/studies/{study_id}"))

    def download_report(self, study_id: str, target: str | Path, format: str = "html") -> Path:
        """Fetch a study's newest report: html, markdown, csv or json."""
        address, params = f"/v1/studies/{study_id}/report", {"format": format}
        return self._run(transfers.fetch(address, Path(target), params))

    # -- the service

    def methods(self) -> list[dict[str, Any]]:
        """List the loss terms with the JSON Schema of their parameters."""
        return list(self._run(calls.plain("/v1/methods"))["data"])

    def workers(self) -> list[dict[str, Any]]:
        """List the workers, with what they do."""
        return list((self._run(calls.plain("/v1/workers")))["data"])

    def queue(self) -> dict[str, Any]:
        """Say how many jobs are where, and which is next."""
        return dict(self._run(calls.plain("/v1/queue")))

    def usage(self) -> dict[str, Any]:
        """Say what is stored and reserved, against the quota; to an admin also of everybody, disk and caches."""
        return dict(self._run(calls.plain("/v1/usage")))

    def create_key(
        self, name: str, owner: str, scope: str = "submit", expires_at: datetime | None = None
    ) -> dict[str, Any]:
        """Make an API key; `key` of the answer is the key, which is never shown again."""
        end = None if expires_at is None else expires_at.isoformat()
        body = {"name": name, "owner": owner, "scope": scope, "expires_at": end}
        return dict(self._run(calls.ask("POST", "/v1/api-keys", json=body)).json())

    def keys(self) -> Iterator[dict[str, Any]]:
        """List the API keys, newest first."""
        yield from self._pages("/v1/api-keys", {})

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        """Revoke an API key."""
        return dict(self._run(calls.ask("DELETE", f"/v1/api-keys/{key_id}")).json())

    def version(self) -> dict[str, Any]:
        """Say what runs there."""
        return dict(self._run(calls.plain("/v1/version")))

    def readiness(self) -> dict[str, Any]:
        """Say whether the service can do its work; one that cannot is `Refused`."""
        return dict(self._run(calls.plain("/readyz")))

    # -- the driver

    def _pages(self, path: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = self._run(calls.page(path, filters, after))
            yield from page.data
            if (after := page.next) is None:
                return

    def _run(self, call: Call[T]) -> T:
        """Perform what a call wants, until it gives its result."""
        try:
            wish = next(call)
            while True:
                try:
                    result = self._perform(wish)
                except (httpx2.TransportError, Broken) as error:
                    wish = call.throw(Broken(f"{type(error).__name__}: {error}"))
                else:
                    wish = call.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    def _perform(self, wish: Ask | Sleep) -> Answer | None:
        if isinstance(wish, Sleep):
            time.sleep(wish.seconds)
            return None
        body = {"content": _chunks(wish.piece)} if wish.piece else {"json": wish.json} if wish.json is not None else {}
        with self._http.stream(
            wish.method, wish.path, params=dict(wish.params), headers=headers_of(wish), **body
        ) as answer:
            onward = elsewhere(wish, answer.status_code, answer.headers)
            if onward is None:
                return _take(wish, answer)
        address, headers = onward
        with (
            httpx2.Client(timeout=TIMEOUT, trust_env=not is_local(address)) as other,  # which has no key
            other.stream("GET", address, headers=headers) as content,
        ):
            if not content.is_success:  # such as an address that has expired: the service gives another
                raise Broken(f"{httpx2.URL(address).host} answered {content.status_code}")
            taken = _take(wish, content)
        return Answer(taken.status, answer.headers, taken.content)


def _take(wish: Ask, answer: httpx2.Response) -> Answer:
    """Read an answer's body, to where the wish has it go."""
    if wish.sink is None or not answer.is_success:
        return Answer(answer.status_code, answer.headers, answer.read())
    file, done = wish.sink(answer.status_code, answer.headers), 0
    for chunk in answer.iter_bytes(CHUNK):
        file.write(chunk)
        done += len(chunk)
        if wish.progress is not None:
            wish.progress(done)
    return Answer(answer.status_code, answer.headers, b"")


def is_local(url: str) -> bool:
    """Say whether a service is on this machine: then no proxy that the environment names is asked.

    >>> is_local("http://127.0.0.1:8000"), is_local("https://rdrkd.example.org")
    (True, False)
    """
    return httpx2.URL(url).host in ("127.0.0.1", "::1", "localhost")


def headers_of(wish: Ask) -> dict[str, str]:
    """Give a request's headers: with the length of a piece, and of a file the bytes as they are."""
    headers = dict(wish.headers)
    if wish.piece is not None:
        headers["Content-Length"] = str(wish.piece.length - wish.piece.offset)
    if wish.sink is not None:
        headers["Accept-Encoding"] = "identity"
    return headers


def _chunks(piece: Piece) -> Iterator[bytes]:
    piece.file.seek(piece.offset)
    done = piece.offset
    while chunk := piece.file.read(CHUNK):
        yield chunk
        done += len(chunk)
        if piece.progress is not None:
            piece.progress(done, piece.length)

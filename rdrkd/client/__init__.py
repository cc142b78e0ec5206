"""The service's client: typed, sync and async, with uploads and downloads that resume after a broken connection.

    from rdrkd.client import Client

    with Client("http://127.0.0.1:8000") as service:
        dataset = service.upload_dataset("scenes.zip")
        job = service.submit({"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": dataset.id})
        service.wait(job.id)
        service.download_weights(job.id, "student.pt")

`AsyncClient` has the same methods, to be awaited. A refusal by the service is raised as `Refused`, with its `code`.
"""

from rdrkd.client._async.client import AsyncClient
from rdrkd.client._sync.client import Client
from rdrkd.client.errors import ClientError, Damaged, NotEnded, Refused, Unreachable, UploadBroken
from rdrkd.client.views import Artifact, Dataset, Job, Model, Study

__all__ = [
    "Artifact",
    "AsyncClient",
    "Client",
    "ClientError",
    "Damaged",
    "Dataset",
    "Job",
    "Model",
    "NotEnded",
    "Refused",
    "Study",
    "Unreachable",
    "UploadBroken",
]

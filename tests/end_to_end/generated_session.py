"""What a stranger's program does with a generated client: upload, submit, follow, download.

Runs in an environment that has the generated client and nothing of this project:
`generated_session.py BASE_URL TOKEN DATASET.zip STUDENT.pt`.
"""

import io
import sys
import time
from pathlib import Path

from rdrkd_client import AuthenticatedClient
from rdrkd_client.api.datasets import create_dataset
from rdrkd_client.api.jobs import create_job, get_job, get_job_weights, validate_job
from rdrkd_client.models import (
    Architecture,
    ArchitectureArchitecture,
    CreateDatasetBody,
    Distill,
    Distillation,
    JobOutput,
    Pkd,
    Regenerated,
    RegeneratedLevelsItem,
    Train,
    TrainSettings,
)
from rdrkd_client.types import File

base_url, token, dataset_path, student_path = sys.argv[1:]
client = AuthenticatedClient(base_url=base_url, token=token, raise_on_unexpected_status=True)
content = io.BytesIO(Path(dataset_path).read_bytes())
dataset = create_dataset.sync(client=client, body=CreateDatasetBody(file=File(content, Path(dataset_path).name)))
train = TrainSettings(epochs=1, imgsz=64, batch=4, cache="ram", workers=0, warmup_epochs=0, amp=False)
network = Architecture(ArchitectureArchitecture("yolov8n-half"))
teacher = create_job.sync(client=client, body=Train(dataset=dataset.id, kind="train", model=network, train=train))
levels = [RegeneratedLevelsItem.VALUE_8, RegeneratedLevelsItem.VALUE_16]
losses = [Regenerated(name="regenerated", levels=levels), Pkd(name="pkd", weight=0.5)]
spec = Distill(
    kind="distill",
    dataset=dataset.id,
    teacher=JobOutput(job=teacher.id),
    student=network,
    distillation=Distillation(losses=losses),
    train=train,
)
print("valid:", validate_job.sync(client=client, body=spec).ok)
job = create_job.sync(client=client, body=spec)
while job.status not in ("succeeded", "failed", "cancelled", "expired"):
    time.sleep(0.5)
    job = get_job.sync(job.id, client=client)
print("status:", job.status, "" if job.status == "succeeded" else job)
Path(student_path).write_bytes(get_job_weights.sync(job.id, client=client).payload.read())

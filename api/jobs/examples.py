"""Job specs as the API's documentation shows them."""

from typing import Any

_DATASET = "ds_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"
_MODEL = "mdl_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"
_JOB = "job_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"

JOBS: dict[str, Any] = {
    "distill": {
        "summary": "Distil a student from an uploaded teacher, with RDR-KD",
        "value": {
            "kind": "distill",
            "name": "n-from-l",
            "teacher": {"model": _MODEL},
            "student": {"architecture": "yolov8n"},
            "dataset": _DATASET,
            "distillation": {"preset": "rdr-kd"},
            "train": {"epochs": 100, "imgsz": 640, "batch": 16},
            "labels": {"team": "uav"},
        },
    },
    "distill_terms": {
        "summary": "Distil from another job's output, with custom terms",
        "value": {
            "kind": "distill",
            "teacher": {"job": _JOB},
            "student": {"architecture": "yolov8n"},
            "dataset": _DATASET,
            "distillation": {
                "losses": [
                    {"name": "decoupled", "weight": 0.1, "temperature": 20},
                    {"name": "responsive", "weight": 1.0, "gamma": 1.0},
                ]
            },
        },
    },
    "train": {
        "summary": "Train a model alone: a teacher, or the student without a teacher",
        "value": {"kind": "train", "model": {"architecture": "yolov8l"}, "dataset": _DATASET, "train": {"epochs": 50}},
    },
    "evaluate": {
        "summary": "Evaluate weights by the COCO protocol",
        "value": {"kind": "evaluate", "model": {"job": _JOB}, "dataset": _DATASET},
    },
    "export": {
        "summary": "Export a job's student to ONNX, checked against torch on the dataset's images",
        "value": {
            "kind": "export",
            "model": {"job": _JOB},
            "dataset": _DATASET,
            "export": {"format": "onnx", "imgsz": 640},
        },
    },
}

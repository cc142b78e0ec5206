"""Study specs as the API's documentation shows them."""

from typing import Any

_DATASET = "ds_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"
_MODEL = "mdl_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"

STUDIES: dict[str, Any] = {
    "ablation": {
        "summary": "The paper's ablation: the teacher is trained first",
        "value": {
            "name": "ablation",
            "dataset": _DATASET,
            "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 100}},
            "student": {"architecture": "yolov8n"},
            "methods": ["table2"],
            "seeds": [0, 1, 2],
            "train": {"epochs": 100, "imgsz": 640, "batch": 16},
        },
    },
    "mine": {
        "summary": "A custom distillation against the presets, with an uploaded teacher",
        "value": {
            "name": "mine-against-rdr-kd",
            "dataset": _DATASET,
            "teacher": {"model": {"model": _MODEL}},
            "student": {"architecture": "yolov8n"},
            "methods": [
                "none",
                "rdr-kd",
                {"name": "mine", "distillation": {"losses": [{"name": "decoupled", "temperature": 0.05}]}},
            ],
        },
    },
}

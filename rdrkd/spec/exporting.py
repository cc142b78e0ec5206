"""What weights are exported to, and how what came out is checked."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rdrkd.spec.training import ImageSize

Format = Literal["onnx", "openvino", "torchscript", "engine"]
NEEDS_GPU: frozenset[str] = frozenset({"engine"})  # what TensorRT builds, it builds for the GPU at hand


class ExportSettings(BaseModel):
    """One format; the network's input is one square image, `imgsz` px."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Format = Field(description="`engine` is TensorRT's, and needs a worker with an NVIDIA GPU")
    imgsz: int = ImageSize
    half: bool = Field(
        False,
        description="weights in fp16: half the size; `torchscript` takes it on a GPU only. AP after it is measured",
    )
    split: Literal["train", "val", "test"] = Field("val", description="images that it is checked on")
    images: int = Field(32, ge=1, le=1000, description="of these, how many outputs are compared one by one")
    conf: float = Field(0.25, gt=0, lt=1, description="score from which on a detection counts in that comparison")
    repeats: int = Field(50, ge=10, le=1000, description="timed passes of each of torch and the exported network")

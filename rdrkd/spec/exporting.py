"""What weights are exported to, and how what came out is checked."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rdrkd.spec.field_errors import Fault, refusal
from rdrkd.spec.training import ImageSize

Format = Literal["onnx", "openvino", "torchscript", "engine"]
NEEDS_GPU: frozenset[str] = frozenset({"engine"})  # what TensorRT builds, it builds for the GPU at hand


class ExportSettings(BaseModel):
    """One format; the network's input is one square image, `imgsz` px, unless its shape is left open."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Format = Field(description="`engine` is TensorRT's, and needs a worker with an NVIDIA GPU")
    imgsz: int = ImageSize
    half: bool = Field(
        False,
        description="weights in fp16: half the size; `torchscript` takes it on a GPU only. AP after it is measured",
    )
    int8: bool = Field(
        False,
        description="`openvino` only: weights and activations in 8 bits but for the head's last part, calibrated on "
        "images of the train split. AP after it is measured on another one",
    )
    calibration: int = Field(300, ge=1, le=5000, description="number of calibration images, with `int8`")
    dynamic: bool = Field(
        False,
        description="`onnx` only: number, height and width of the images are left open; sides are multiples of the "
        "network's stride. Compared with torch at a second shape, too",
    )
    split: Literal["train", "val", "test"] = Field("val", description="split on which the exported network is checked")
    images: int = Field(32, ge=1, le=1000, description="number of images whose outputs are compared one by one")
    conf: float = Field(0.25, gt=0, lt=1, description="lowest score of a detection in that comparison")
    repeats: int = Field(50, ge=10, le=1000, description="timed passes of each of torch and the exported network")

    @model_validator(mode="after")
    def _together(self) -> Self:
        faults = []
        if self.dynamic and self.format != "onnx":
            faults.append(Fault(("dynamic",), f"expected the format onnx with it, got {self.format}", self.dynamic))
        if self.int8 and self.format != "openvino":
            faults.append(Fault(("int8",), f"expected the format openvino with it, got {self.format}", self.int8))
        if self.int8 and self.half:
            faults.append(Fault(("half",), "expected either half or int8, got both", self.half))
        if self.int8 and self.split == "train":
            detail = "expected images that it is not calibrated on, val or test, got train"
            faults.append(Fault(("split",), detail, self.split))
        if faults:
            raise refusal(faults)
        return self

"""The settings of an export: its format, and how the exported network is checked."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rdrkd.spec.field_errors import Fault, refusal
from rdrkd.spec.training import ImageSize

Format = Literal["onnx", "openvino", "torchscript", "engine"]
NEEDS_GPU: frozenset[str] = frozenset({"engine"})  # TensorRT builds engines for the GPU of the machine


class ExportSettings(BaseModel):
    """The format of an export; the network's input is one square image of `imgsz` px, unless it is dynamic."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Format = Field(description="`engine` is TensorRT's, and requires a worker with an NVIDIA GPU")
    imgsz: int = ImageSize
    half: bool = Field(
        False,
        description="weights in fp16: half the size; for `torchscript` on a GPU only. The resulting AP is measured",
    )
    int8: bool = Field(
        False,
        description="`openvino` only: weights and activations in 8 bits, except the last part of the head, calibrated "
        "on images of the train split. The resulting AP is measured on a different split",
    )
    calibration: int = Field(300, ge=1, le=5000, description="number of calibration images, with `int8`")
    dynamic: bool = Field(
        False,
        description="`onnx` only: allow any number, height and width of images; sides are multiples of the network's "
        "stride. Also compared with torch at a second shape",
    )
    split: Literal["train", "val", "test"] = Field("val", description="split on which the exported network is checked")
    images: int = Field(32, ge=1, le=1000, description="number of images whose outputs are compared with torch's")
    conf: float = Field(0.25, gt=0, lt=1, description="minimum score of detections in that comparison")
    repeats: int = Field(50, ge=10, le=1000, description="number of timed passes of torch and of the exported network")

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

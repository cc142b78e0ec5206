"""Training settings: an allow-list of Ultralytics' train arguments, with the paper's SGD recipe as default."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

_STRIDE = 32  # the trainer pads to multiples of this, whatever the network's stride

ImageSize = Field(640, ge=32, le=4096, multiple_of=32, description="side of the square network input, px")


# An `enum` of two types is valid JSON Schema, but client generators drop it and every endpoint that refers to it.
Cache = Annotated[
    Literal[False, "ram", "disk"],
    WithJsonSchema({"anyOf": [{"type": "boolean", "const": False}, {"type": "string", "enum": ["ram", "disk"]}]}),
]


class TrainSettings(BaseModel):
    """Training settings; every field is an Ultralytics train argument of the same name and meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(100, ge=1, le=10_000, description="passes over the training images")
    imgsz: int = ImageSize
    batch: int = Field(16, ge=1, le=4096, description="images per step, summed over all devices")
    optimizer: Literal["SGD", "AdamW", "Adam", "RMSProp", "NAdam", "RAdam"] = Field(
        "SGD", description="algorithm that updates the weights"
    )
    lr0: float = Field(0.01, gt=0, le=1, description="learning rate at the start")
    lrf: float = Field(0.01, gt=0, le=1, description="learning rate at the end, as a share of lr0")
    momentum: float = Field(0.937, ge=0, lt=1, description="SGD momentum, Adam's beta1")
    weight_decay: float = Field(0.0005, ge=0, le=1, description="L2 penalty on weights")
    warmup_epochs: float = Field(3.0, ge=0, le=100, description="epochs of linear warm-up")
    warmup_momentum: float = Field(0.8, ge=0, lt=1, description="momentum at the start of the warm-up")
    warmup_bias_lr: float = Field(0.1, ge=0, le=1, description="bias learning rate at the start of the warm-up")
    cos_lr: bool = Field(False, description="cosine instead of linear decay")
    nbs: int = Field(64, ge=1, le=65_536, description="nominal batch: gradients are accumulated up to it")
    patience: int = Field(
        100, ge=0, le=10_000, description="epochs without improvement before the run stops early; 0: never"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of every random choice")
    deterministic: bool = Field(True, description="use deterministic kernels where available")
    amp: bool | Literal["bf16", "fp16"] = Field(
        True,
        description="mixed precision: true = fp16 on CUDA, none on the CPU; bf16, fp16 = that one on any device; "
        "KD terms always run in fp32",
    )
    compile: bool = Field(False, description="torch.compile the student and the teacher")
    cache: Cache = Field(False, description="keep decoded images in memory or on disk")
    workers: int = Field(8, ge=0, le=64, description="data loader processes per device (none on the CPU)")
    rect: bool = Field(False, description="rectangular batches")
    multi_scale: float = Field(0.0, ge=0, le=0.9, description="vary imgsz by up to this share")
    single_cls: bool = Field(False, description="treat all classes as one")
    freeze: int = Field(0, ge=0, le=100, description="freeze the student's first layers")
    fraction: float = Field(1.0, gt=0, le=1, description="fraction of the training images to use")
    close_mosaic: int = Field(10, ge=0, le=10_000, description="number of last epochs without mosaic")
    mosaic: float = Field(1.0, ge=0, le=1, description="probability of mosaic")
    mixup: float = Field(0.0, ge=0, le=1, description="probability of mixup")
    hsv_h: float = Field(0.015, ge=0, le=1, description="hue augmentation")
    hsv_s: float = Field(0.7, ge=0, le=1, description="saturation augmentation")
    hsv_v: float = Field(0.4, ge=0, le=1, description="value augmentation")
    degrees: float = Field(0.0, ge=0, le=180, description="rotation, +/- degrees")
    translate: float = Field(0.1, ge=0, le=1, description="translation, +/- share of the image")
    scale: float = Field(0.5, ge=0, lt=1, description="scale, +/- gain")
    shear: float = Field(0.0, ge=0, le=180, description="shear, +/- degrees")
    perspective: float = Field(0.0, ge=0, le=0.001, description="perspective, +/- share")
    flipud: float = Field(0.0, ge=0, le=1, description="probability of an up-down flip")
    fliplr: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    box: float = Field(7.5, ge=0, le=1000, description="gain of the task's box loss")
    cls: float = Field(0.5, ge=0, le=1000, description="gain of the task's class loss")
    dfl: float = Field(1.5, ge=0, le=1000, description="gain of the task's distribution focal loss")

    def lone_image(self, images: int, ranks: int = 1) -> str | None:
        """Return why training would fail at a batch of one image, or None.

        Batch normalisation needs more than one value per channel: the map of the largest stride has one for each
        image of 32 px.

        Args:
            images: number of images in the train split.
            ranks: number of devices that share each batch.
        """
        smallest = max(_STRIDE, int(self.imgsz * (1 - self.multi_scale))) // _STRIDE * _STRIDE
        share = math.ceil(max(1, round(images * self.fraction)) / ranks)
        batch = min(max(1, self.batch // ranks), share)
        if smallest >= 2 * _STRIDE or share % batch != int(batch > 1) or (self.compile and share > batch):
            return None
        return (
            f"expected inputs of at least {2 * _STRIDE} px, multi_scale included, or batches that leave no single "
            f"image, got {smallest} px and one image in the last batch of {images} images by {self.batch}"
        )

    def freezes_all(self, layers: int) -> str | None:
        """Return why no layer of a network with `layers` layers would be trained, or None."""
        if self.freeze < layers:
            return None
        return f"expected fewer than the student's {layers} layers, or nothing would be trained, got {self.freeze}"


class EvaluationSettings(BaseModel):
    """Settings of an evaluation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    imgsz: int = ImageSize
    batch: int = Field(16, ge=1, le=4096, description="images per step")
    split: Literal["train", "val", "test"] = Field("val", description="split to evaluate")

"""The loss terms that a job can name, each with its weight and an option for each ambiguity of the paper.

The defaults are the readings argued in docs/paper_map.md. A term's name, its weight here, its key in the metrics
and the name of its file under `rdrkd/losses/` are the same word.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rdrkd.spec.tagged import Tagged

Stride = Literal[4, 8, 16, 32]


def _require_name(schema: dict[str, Any]) -> None:
    """Require the discriminator in JSON, where it distinguishes the terms; only Python constructors can omit it."""
    schema["required"] = ["name", *schema.get("required", ())]


class _Term(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_require_name)


class HeadTerm(_Term):
    """A term that compares the predictions of the two Detect heads, anchor by anchor.

    Attributes:
        needs_distribution: both heads must predict distributions over the same number of distances (reg_max > 1).
    """

    needs_distribution: ClassVar[bool] = False

    @property
    def least_classes(self) -> int:
        """Number of classes that the term needs at least."""
        return 1


class FeatureTerm(_Term):
    """A term that compares feature maps level by level and sums over the levels.

    Attributes:
        adapter_bias: whether the term's own adapter has a bias, which has no effect on some losses.
    """

    adapter_bias: ClassVar[bool] = True

    levels: tuple[Stride, ...] = Field(
        (4, 8, 16, 32), min_length=1, description="strides of the compared maps (the paper's Layers 1-4)"
    )
    layers: Literal["fpn", "backbone"] = Field(
        "fpn",
        description="`fpn`: the backbone's stride-4 block and the Detect head's inputs; `backbone`: its four stages",
    )
    adapter: Literal["shared", "own", "mlp"] = Field(
        "shared",
        description="per level: one 1x1 convolution that terms share, one for this term only, or two with a ReLU",
    )

    @field_validator("levels")
    @classmethod
    def _distinct(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(levels)) != len(levels):
            raise ValueError(f"expected distinct strides, got {list(levels)}")
        return tuple(sorted(levels))


class Regenerated(FeatureTerm):
    """Regenerated distillation (RDR-KD, Eq. 1-6): rebuild the teacher's map from a student map with hidden pixels."""

    name: Literal["regenerated"] = "regenerated"
    weight: float = Field(1e-5, ge=0, le=1e6, description="weight of the term in Eq. 11")
    tau_s: float = Field(1.0, gt=0, description="a cell is hidden where its spatial attention exceeds this (Eq. 3)")
    tau_c: float = Field(1.0, gt=0, description="a channel is hidden where its attention exceeds this (Eq. 4)")
    tau_area: float = Field(500.0, ge=0, description="cells of objects below this area are hidden, too (Eq. 3)")
    tau_area_unit: Literal["input_px", "cells", "image"] = Field(
        "input_px",
        description="unit of tau_area: square pixels of the network input, cells of the level, or share of the input",
    )
    temperature: float = Field(0.5, gt=0, description="T of the attention softmax (Eq. 1-2)")
    reduction: Literal["sum", "mean"] = Field("sum", description="over channels and cells; images are always averaged")
    channel_kernel: Literal[1, 3] = Field(1, description="kernel of the channel procreate module")
    fusion: Literal["sum", "learned"] = Field(
        "sum", description="how the maps of the two procreate modules are combined (Eq. 5)"
    )
    generation: Literal["full", "half", "bottleneck", "separable"] = Field(
        "full",
        description="the spatial procreate module: MGD's two 3x3 convolutions, the same with half or a quarter of the "
        "channels between them, or depthwise separable convolutions",
    )
    halve_p2: bool = Field(
        False, description="compare the maps of stride 4 at half resolution, by the mean over 2 x 2 cells"
    )
    standardize: bool = Field(
        False,
        description="divide both maps' channels by the teacher's batch deviation, so that all count equally",
    )
    by_visibility: bool = Field(
        False,
        description="weight an object smaller than a cell of the level by the fraction of the cell that it fills",
    )

    @model_validator(mode="after")
    def _area_fits_unit(self) -> Self:
        if self.tau_area_unit == "image" and self.tau_area > 1:
            raise ValueError(f"expected tau_area in 0..1 where its unit is a share of the input, got {self.tau_area}")
        return self


class Decoupled(FeatureTerm):
    """Decoupled distillation (RDR-KD, Eq. 7-8): area-weighted foreground plus background feature mimicry."""

    name: Literal["decoupled"] = "decoupled"
    weight: float = Field(0.1, ge=0, le=1e6, description="weight of the term in Eq. 11")
    alpha: float = Field(0.5, ge=0, description="share of the foreground (Eq. 8)")
    beta: float = Field(0.5, ge=0, description="share of the background (Eq. 8)")
    temperature: float = Field(20.0, gt=0, description="T_s of the area-softmax (Eq. 7)")
    b: float = Field(0.005, description="b of Eq. 7; cancels in the softmax, kept for fidelity to the paper")
    area_unit: Literal["image", "cells"] = Field(
        "image", description="unit of the object area x in Eq. 7: share of the image, or cells of the level"
    )
    softmax_over: Literal["image", "batch"] = Field("image", description="the objects that share one area-softmax")
    divisor_unit: Literal["cells", "input_px", "image"] = Field("cells", description="unit of S_q in W_q / S_q (Eq. 8)")
    overlap: Literal["max", "sum", "smallest", "mean"] = Field(
        "max", description="how to weight a cell that several objects cover"
    )
    background_norm: Literal["cells", "elements", "none"] = Field(
        "cells", description="divide the background sum by its cells, by cells x channels, or not at all"
    )
    standardize: bool = Field(
        False,
        description="divide both maps' channels by the teacher's batch deviation, so that all count equally",
    )
    by_visibility: bool = Field(
        False,
        description="weight an object smaller than a cell of the level by the fraction of the cell that it fills",
    )


class Responsive(HeadTerm):
    """Responsive distillation (RDR-KD, Eq. 9-10): focal class imitation plus Efficient IoU between the boxes."""

    name: Literal["responsive"] = "responsive"
    weight: float = Field(1.0, ge=0, le=1e6, description="weight of the term in Eq. 11")
    gamma: float = Field(1.0, ge=0, description="focal exponent of |p_t - p_s| (Eq. 9)")
    class_weight: float = Field(1.0, ge=0, description="weight of the class part")
    box_weight: float = Field(4.0, ge=0, description="weight of the box part")
    normalizer: Literal["assigned", "positives", "image_sum", "batch_sum"] = Field(
        "assigned",
        description="divide the batch's sum by the task's assigned score sum, by the number of positive anchors, "
        "by the number of images, or not at all",
    )
    loc_weight: Literal["bckd", "none", "teacher_score"] = Field(
        "bckd", description="weight of each anchor's box part: max_j |p_t - p_s|, 1, or the teacher's max_j p_t"
    )
    focal_eiou: bool = Field(False, description="multiply each anchor's EIoU loss by IoU^0.5 (Focal-EIoU)")


class Bckd(HeadTerm):
    """BCKD (arXiv 2308.14286): focal imitation of each class's sigmoid, and GIoU between the boxes."""

    name: Literal["bckd"] = "bckd"
    weight: float = Field(1.0, ge=0, le=1e6, description="weight of the term")
    gamma: float = Field(1.0, ge=0, description="focal exponent of |p_t - p_s|")
    class_weight: float = Field(1.0, ge=0, description="weight of the class part; as published, where the task's is 1")
    box_weight: float = Field(4.0, ge=0, description="weight of the box part; as published, where the task's is 2")
    normalizer: Literal["positives", "assigned"] = Field(
        "positives",
        description="divide the batch's sum by the foreground anchors, or by the sum of the assigned scores",
    )
    empty_levels: Literal["compare", "skip"] = Field(
        "compare",
        description="treatment of head levels without a foreground anchor in the batch; the official code skips them",
    )


class Crosskd(HeadTerm):
    """CrossKD (arXiv 2306.11369): pass the student's head map through the teacher's head, and match the scores."""

    name: Literal["crosskd"] = "crosskd"
    weight: float = Field(1.0, ge=0, le=1e6, description="weight of the term")
    split: Literal[1, 2] = Field(
        1, description="head convolution after which the student's map enters the teacher's head; 3 in the paper"
    )
    mapper: Literal["conv", "none"] = Field(
        "conv", description="if the maps differ in width: add a 1x1 convolution before the teacher's head, or refuse"
    )
    align_scale: bool = Field(True, description="first give the student's map the teacher's mean and deviation")
    eps: float = Field(1e-4, gt=0, le=1, description="added to a channel's deviation; the official code has 1e-6")
    gamma: float = Field(1.0, ge=0, description="focal exponent of |p_t - p_s|")
    class_weight: float = Field(1.0, ge=0, description="weight of the class part")
    normalizer: Literal["positives", "assigned"] = Field(
        "positives",
        description="divide the batch's class and GIoU sums by the foreground anchors, or by the assigned scores",
    )
    box_loss: Literal["auto", "kl", "giou"] = Field(
        "auto",
        description="box loss: between the distributions over the distances, or between the boxes; `auto`: `kl` if "
        "the teacher predicts distributions (reg_max > 1)",
    )
    kl_weight: float = Field(4.0, ge=0, description="weight of the box part with `kl`")
    giou_weight: float = Field(1.0, ge=0, description="weight of the box part with `giou`")
    temperature: float = Field(1.0, gt=0, description="T of the softmax over the distances")


class Ultralytics(FeatureTerm):
    """Ultralytics' built-in distillation (8.4.190): L2 between neck maps, each cell weighted by the teacher's score."""

    name: Literal["ultralytics"] = "ultralytics"
    weight: float = Field(6.0, ge=0, le=1e6, description="gain, Ultralytics' `dis`")
    levels: tuple[Stride, ...] = Field((8, 16, 32), min_length=1, description="strides of the compared neck maps")
    layers: Literal["fpn"] = Field("fpn", description="the Detect head's inputs")
    adapter: Literal["shared", "own", "mlp"] = Field("mlp", description="adapter per level; Ultralytics uses `mlp`")


class Ld(HeadTerm):
    """Localisation distillation (LD, arXiv 2102.12252): the teacher's distribution over each side's distance."""

    needs_distribution: ClassVar[bool] = True

    name: Literal["ld"] = "ld"
    weight: float = Field(0.25, ge=0, le=1e6, description="weight of the term")
    temperature: float = Field(10.0, ge=1, description="T of the softmax over the distances")
    anchor_weight: Literal["assigned", "none"] = Field(
        "assigned", description="weight of a foreground anchor: its assigned score, or 1"
    )
    normalizer: Literal["assigned", "positives"] = Field(
        "assigned", description="divide the batch's sum by the sum of the assigned scores, or by the foreground anchors"
    )
    bin_reduction: Literal["sum", "mean"] = Field(
        "sum", description="reduction over the distances; the official code takes the mean"
    )


class ClassTerm(HeadTerm):
    """A term on the foreground anchors' class logits that was designed for one true class per sample."""

    anchor_weight: Literal["none", "assigned"] = Field(
        "none",
        description="weight of a foreground anchor: 1, or its assigned score; the sum is divided by the total weight",
    )
    constant_logit: bool = Field(False, description="append a logit of 0; required with a single class")

    @property
    def least_classes(self) -> int:
        """A softmax over one class is constant."""
        return 1 if self.constant_logit else 2


class Dkd(ClassTerm):
    """Decoupled knowledge distillation (DKD, arXiv 2203.08679) of the foreground anchors' class scores."""

    name: Literal["dkd"] = "dkd"
    weight: float = Field(1.0, ge=0, le=1e6, description="weight of the term")
    alpha: float = Field(1.0, ge=0, description="weight of the target class against the rest")
    beta: float = Field(0.25, ge=0, description="weight of the other classes among themselves")
    temperature: float = Field(1.0, gt=0, description="T of the softmax over the classes")


class Wsld(ClassTerm):
    """Weighted soft labels (WSLD, arXiv 2102.00650): foreground class scores, weighted by who predicts better."""

    name: Literal["wsld"] = "wsld"
    weight: float = Field(2.5, ge=0, le=1e6, description="weight of the term; published for ImageNet")
    temperature: float = Field(2.0, gt=0, description="T of the softmax over the classes; published for ImageNet")


class Nkd(ClassTerm):
    """Normalised knowledge distillation (NKD, arXiv 2303.13005) of the foreground anchors' class scores."""

    name: Literal["nkd"] = "nkd"
    weight: float = Field(1.0, ge=0, le=1e6, description="weight of the term")
    gamma: float = Field(1.5, ge=0, description="weight of the other classes among themselves; published for ImageNet")
    temperature: float = Field(1.0, gt=0, description="T of the other classes' softmax; published for ImageNet")


class NeckTerm(FeatureTerm):
    """A feature term that compares the maps before the head, as its paper does, with its own adapters."""

    levels: tuple[Stride, ...] = Field((8, 16, 32), min_length=1, description="strides of the compared maps")
    adapter: Literal["shared", "own", "mlp"] = Field(
        "own",
        description="per level: one 1x1 convolution that terms share, one for this term only, or two with a ReLU",
    )


class Cwd(NeckTerm):
    """Channel-wise distillation (CWD, arXiv 2011.13256): each channel of the maps as a distribution over the cells."""

    adapter_bias: ClassVar[bool] = False  # a constant cancels in the softmax

    name: Literal["cwd"] = "cwd"
    weight: float = Field(1.0, ge=0, le=1e6, description="weight of the term; published: 10, with `none`")
    temperature: float = Field(1.0, gt=0, description="T of the softmax over the cells")
    normalize: Literal["batch", "none"] = Field(
        "batch", description="`batch`: first normalise each channel of both maps to mean 0, variance 1; `none`: do not"
    )


class Pkd(NeckTerm):
    """Pearson distillation (PKD, arXiv 2207.02039): correlate each channel of the maps with the teacher's."""

    adapter_bias: ClassVar[bool] = False  # a shift does not change a correlation

    name: Literal["pkd"] = "pkd"
    weight: float = Field(6.0, ge=0, le=1e6, description="weight of the term; published: 6, one-stage: 10")
    eps: float = Field(1e-4, gt=0, le=1, description="added to a channel's deviation; the official code has 1e-6")


class Mgd(NeckTerm):
    """Masked generative distillation (MGD, arXiv 2205.01529): rebuild the teacher's map from a randomly masked one."""

    name: Literal["mgd"] = "mgd"
    weight: float = Field(2e-5, ge=0, le=1e6, description="weight of the term; published for one-stage detectors")
    mask_ratio: float = Field(0.65, ge=0, le=1, description="lambda: the probability that a cell is hidden")


class Fgd(NeckTerm):
    """Focal and global distillation (FGD, arXiv 2111.11837): objects, background, attention and global context."""

    name: Literal["fgd"] = "fgd"
    weight: float = Field(1.0, ge=0, le=1e6, description="weight of the term")
    foreground_weight: float = Field(2e-3, ge=0, description="alpha, of the objects' cells; published for YOLOX")
    background_weight: float = Field(1e-3, ge=0, description="beta, of the other cells; published for YOLOX")
    attention_weight: float = Field(1e-3, ge=0, description="gamma, of the attention; published for YOLOX")
    relation_weight: float = Field(1e-5, ge=0, description="lambda, of the global context; published for YOLOX")
    temperature: float = Field(0.5, gt=0, description="T of the attention softmax")
    object_cells: Literal["touched", "official"] = Field(
        "touched", description="cells of an object: those it touches; `official`: one row and one column more"
    )


class Amd(NeckTerm):
    """Adaptive masked distillation (AMD, arXiv 2301.13538; Table I's AWD), reconstructed from its abstract.

    Rebuild the teacher's map from a student map whose most attended cells are hidden, with weights for the channels.
    """

    name: Literal["amd"] = "amd"
    weight: float = Field(2e-5, ge=0, le=1e6, description="weight of the term: MGD's, for one-stage detectors")
    tau_s: float = Field(1.0, gt=0, description="a cell is hidden where the teacher's attention exceeds this")
    temperature: float = Field(0.5, gt=0, description="T of the attention softmax")
    squeeze: int = Field(16, ge=1, le=1024, description="channel reduction in the module for channel weights")


Term = Annotated[
    Regenerated
    | Decoupled
    | Responsive
    | Bckd
    | Crosskd
    | Ultralytics
    | Ld
    | Dkd
    | Cwd
    | Pkd
    | Mgd
    | Fgd
    | Amd
    | Wsld
    | Nkd,
    Tagged("name"),
]
TERMS: dict[str, type[Term]] = {
    "regenerated": Regenerated,
    "decoupled": Decoupled,
    "responsive": Responsive,
    "bckd": Bckd,
    "crosskd": Crosskd,
    "ultralytics": Ultralytics,
    "ld": Ld,
    "dkd": Dkd,
    "cwd": Cwd,
    "pkd": Pkd,
    "mgd": Mgd,
    "fgd": Fgd,
    "amd": Amd,
    "wsld": Wsld,
    "nkd": Nkd,
}
PAPER = ("regenerated", "decoupled", "responsive")  # RDR-KD's own terms

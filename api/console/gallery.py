"""The predictions of a job, to draw over its images. A file that does not match this schema is refused.

`rdrkd.evaluation.gallery` writes the file, in a process that reads untrusted uploads.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from rdrkd.figures import counted

FILE = "predictions.json"
TRUTH = "truth"
SMALL = 32**2  # px^2: COCO's bound of small objects
OVERLAP = 0.5  # IoU from which a detection has found an object
MEANINGS = {"object": "label", "found": "found", "wrong": "false alarm", "missed": "missed"}
CALLED = {"truth": "labels", "teacher": "teacher", "alone": "student alone", "student": "student"}
MAPS = {"regenerated": "key pixels, hidden from the student", "decoupled": "weight of the cells"}

Row = Annotated[list[FiniteFloat], Field(min_length=5, max_length=6)]
Rows = Annotated[list[Row], Field(max_length=300)]
Who = Literal["teacher", "alone", "student"]
Px = Annotated[int, Field(gt=0, le=10**6)]


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Network(_Read):
    """A network, with the minimum confidence of the shown detections."""

    confidence: FiniteFloat


class Map(_Read):
    """A picture to overlay on an image, and its position there: x, y, width, height in px."""

    term: Literal["regenerated", "decoupled"]
    level: str = Field(pattern=r"^P[2-5]$")
    png: str = Field(max_length=300_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$")
    place: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]


class Image(_Read):
    """An image with its objects, and each network's detections and misses."""

    file: str = Field(pattern=r"^predictions-[1-9]\.jpg$")
    name: str = Field(max_length=1000)
    width: Px
    height: Px
    truth: Rows
    found: dict[Who, Rows]
    missed: dict[Who, Annotated[list[int], Field(max_length=300)]]
    maps: Annotated[list[Map], Field(max_length=8)] = []

    @model_validator(mode="after")
    def _misses_objects(self) -> "Image":
        if any(not 0 <= place < len(self.truth) for places in self.missed.values() for place in places):
            raise ValueError("expected missed objects that are among the labels")
        return self


class Moment(_Read):
    """The student's detections and misses in each image after an earlier epoch."""

    epoch: Annotated[int, Field(gt=0)]
    confidence: FiniteFloat
    found: Annotated[list[Rows], Field(max_length=9)]
    missed: Annotated[list[Annotated[list[int], Field(max_length=300)]], Field(max_length=9)]


class Predictions(_Read):
    """The content of the file: class names, networks and images."""

    epoch: Annotated[int, Field(gt=0)] | None = None  # epoch of a running training; None: it has ended
    names: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=10_000)]
    networks: Annotated[dict[Who, Network], Field(min_length=1)]
    images: Annotated[list[Image], Field(max_length=9)]
    history: Annotated[list[Moment], Field(max_length=20)] = []

    @property
    def epochs(self) -> list[int]:
        """The epochs that can be shown, the newest last."""
        return [moment.epoch for moment in self.history] + ([self.epoch] if self.epoch else [])

    def after(self, epoch: int) -> "Predictions":
        """Return these predictions, with the student after the stored epoch that is nearest to this one.

        Raises:
            ValidationError: an earlier epoch does not match the images.
        """
        moment = min(self.history, key=lambda one: abs(one.epoch - epoch), default=None)
        if moment is None or (self.epoch and abs(self.epoch - epoch) <= abs(moment.epoch - epoch)):
            return self
        content, moments = self.model_dump(), zip(moment.found, moment.missed, strict=False)
        for image, (found, missed) in zip(content["images"], moments, strict=False):
            image["found"]["student"], image["missed"]["student"] = found, missed
        content["networks"]["student"] = {"confidence": moment.confidence}
        return Predictions.model_validate(content | {"epoch": moment.epoch})

    def called(self, who: Any) -> str:
        """Return the display name of a side; a network that was trained without a teacher is no student."""
        return CALLED[who] if "teacher" in self.networks or who != "student" else "network"

    def sides(self) -> list[tuple[str, str]]:
        """Return the choices for each side: value and name."""
        return [
            (who, self.called(who)) for who in (TRUTH, "teacher", "alone", "student") if who in {TRUTH, *self.networks}
        ]

    def overlays(self) -> list[tuple[str, str]]:
        """Return the maps that can be overlaid on the images: value and name."""
        maps = {(one.term, one.level) for image in self.images for one in image.maps}
        return [(f"{term}-{level}", f"{MAPS[term]}, {level}") for term, level in sorted(maps)]

    def side(self, image: Image, who: Any) -> dict[str, Any]:
        """Return one side of an image's comparison: rectangles with titles, and a sentence."""
        if who == TRUTH:
            boxes = [self._box(row, "object") for row in image.truth]
            return {"name": self.called(who), "boxes": boxes, "told": f"{counted(len(boxes), 'labelled object')}"}
        missed = [image.truth[place] for place in image.missed.get(who, [])]
        found = image.found.get(who, [])
        kinds = ["found" if any(_matches(row, label) for label in image.truth) else "wrong" for row in found]
        boxes = [self._box(row, kind) for row, kind in zip(found, kinds, strict=True)]
        boxes += [self._box(row, "missed") for row in missed]
        small = sum(row[3] * row[4] < SMALL for row in missed)
        told = f"misses {len(missed)} of {counted(len(image.truth), 'object')}, {small} of them small; "
        told += counted(kinds.count("wrong"), "false alarm")
        confidence = self.networks[who].confidence
        return {"name": self.called(who), "boxes": boxes, "told": f"{told}; from confidence {confidence:.2g}"}

    def _box(self, row: list[float], kind: str) -> dict[str, Any]:
        label = int(row[0])
        name = self.names[label] if 0 <= label < len(self.names) else f"class {label}"
        score = f" {100 * row[5]:.0f} %" if len(row) > 5 else ""
        title = f"{name}{score}, {MEANINGS[kind]}"
        return {"kind": kind, "at": [f"{value:.1f}" for value in row[1:5]], "title": title}


def _matches(found: list[float], label: list[float]) -> bool:
    """Return whether a detection is of the label's class and overlaps it with an IoU of at least 0.5.

    >>> _matches([0, 0, 0, 10, 10, 0.9], [0, 0, 3, 10, 10]), _matches([0, 0, 0, 10, 10, 0.9], [0, 0, 4, 10, 10])
    (True, False)
    """
    (x, y, width, height), (left, top, wide, high) = found[1:5], label[1:5]
    across, down = min(x + width, left + wide) - max(x, left), min(y + height, top + high) - max(y, top)
    both = max(across, 0) * max(down, 0)
    return found[0] == label[0] and both >= OVERLAP * (width * height + wide * high - both)

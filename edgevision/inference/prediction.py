"""What a model found in one image, with the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.analytics.observation import Observation
from edgevision.contract.classes import class_name
from edgevision.contract.image import Frame
from edgevision.contract.results import (
    Classification,
    Detections,
    Instances,
    Mask,
    OrientedBoxes,
    Poses,
    Result,
    Rows,
    Segmentation,
    Translation,
)
from edgevision.drawing.observation import annotate
from edgevision.errors import UsageError
from edgevision.sinks.record import answer_of
from edgevision.sources.image_files import write_image

TOP = 5
"""Classes of a classification that iteration gives."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundItem:
    """One detection, or one class of a classification or segmentation."""

    label: int
    name: str
    score: float
    """Confidence; of a segmented class its share of the image."""
    box_xyxy: tuple[float, float, float, float] | None = None
    """In pixels of the image; None without boxes."""
    mask: Mask | None = None
    identity: int | None = None
    """Of a tracked object."""
    keypoints: npt.NDArray[np.float32] | None = None
    """Of a pose: ``[K,3]``, x and y in pixels of the image and a confidence."""
    oriented: tuple[float, float, float, float, float] | None = None
    """Of an oriented box: x and y of the centre, width, height, angle of the width in radians."""

    def __repr__(self) -> str:
        box = "" if self.box_xyxy is None else f" at {','.join(f'{value:.0f}' for value in self.box_xyxy)}"
        who = "" if self.identity is None else f" #{self.identity}"
        return f"{self.name}{who} {self.score:.2f}{box}"


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A result with its image: a sequence of what was found, best first.

    ``prediction[0]`` is one `FoundItem`; a slice, a mask or a list of indices gives a `Prediction` of a part.
    """

    result: Result
    """Arrays: `Detections` or a kind of them, `Classification`, `Segmentation`, or `Translation`."""
    frame_bgr: Frame
    """The image, uint8 ``[H,W,3]``."""
    name: str = ""
    """Path or address of the image."""
    index: int = 0
    """Of the frame in its source."""
    age_ms: float | None = None
    """Of a live frame: time from its capture to this result."""
    observation: Observation | None = None
    """Identities, counts and events where `Model.stream` tracks."""

    def __len__(self) -> int:
        return len(self.result) if isinstance(self.result, Detections) else len(self._parts())

    def __iter__(self) -> Iterator[FoundItem]:
        return iter(self._parts())

    @overload
    def __getitem__(self, index: int) -> FoundItem: ...
    @overload
    def __getitem__(self, index: Rows) -> Prediction: ...

    def __getitem__(self, index: int | Rows) -> FoundItem | Prediction:
        if isinstance(index, (int, np.integer)):
            if isinstance(self.result, Detections):
                return self._detection(self.result, range(len(self.result))[index])
            return self._parts()[index]
        if not isinstance(self.result, Detections):
            raise UsageError("only detections can be sliced; iterate over the prediction instead")
        kept = np.arange(len(self.result))[index]
        observation = self.observation
        if observation is not None:
            observation = replace(observation, ids=observation.ids[kept])
        return replace(self, result=self.result[kept], observation=observation)

    def __repr__(self) -> str:
        if isinstance(self.result, Detections):
            names = Counter(part.name for part in self)
            found = ", ".join(f"{count} {name}" for name, count in names.most_common()) or "nothing"
        elif isinstance(self.result, Translation):
            found = "an image of {}x{} made".format(*self.result.size_wh)
        else:
            found = ", ".join(f"{part.name} {part.score:.2f}" for part in self._parts()[:3])
        height, width = self.frame_bgr.shape[:2]
        where = "from" if isinstance(self.result, Translation) else "in"
        return f"<{found} {where} {self.name or 'an image'} ({width}x{height})>"

    def plot(self) -> Frame:
        """A copy of the image with the result drawn into it, or the image that was made; uint8 BGR ``[H,W,3]``."""
        if isinstance(self.result, Translation):
            return self.result.image.copy()
        image = self.frame_bgr.copy()
        annotate(image, self.result, self.observation)
        return image

    def save(self, path: str | Path) -> Path:
        """Write the annotated image; the ending chooses the format. Raises `SinkError`."""
        write_image(Path(path), self.plot())
        return Path(path)

    def to_dict(self) -> dict[str, Any]:
        """The result as values that JSON takes, as ``edgevision run --jsonl`` writes them."""
        return answer_of(self.result)

    def to_supervision(self) -> Any:
        """The detections as `supervision.Detections`, poses as `supervision.KeyPoints`.

        Raises `MissingExtraError`, `UsageError` for other tasks.
        """
        if not isinstance(self.result, Detections):
            raise UsageError("only detections can be converted to supervision.Detections")
        ids = None if self.observation is None else self.observation.ids
        return self.result.to_supervision(ids)

    def to_pandas(self) -> Any:
        """A row for each part: label, name, score, and x1, y1, x2, y2 of boxes. Needs pandas."""
        import pandas  # type: ignore[import-untyped]  # the user's own, for those who have it

        rows = []
        for part in self:
            row: dict[str, Any] = {"label": part.label, "name": part.name, "score": part.score}
            if part.box_xyxy is not None:
                row |= dict(zip(("x1", "y1", "x2", "y2"), part.box_xyxy, strict=True))
            rows.append(row)
        return pandas.DataFrame(rows)

    def _repr_png_(self) -> bytes:
        """Shown by notebooks."""
        return bytes(cv2.imencode(".png", self.plot())[1].tobytes())

    def _parts(self) -> list[FoundItem]:
        result = self.result
        if isinstance(result, Translation):
            return []
        if isinstance(result, Classification):
            return [FoundItem(k, class_name(result.classes, k), score) for k, score in result.top(TOP)]
        if isinstance(result, Segmentation):
            return [FoundItem(k, class_name(result.classes, k), share) for k, share in result.shares()]
        return [self._detection(result, row) for row in range(len(result))]

    def _detection(self, result: Detections, row: int) -> FoundItem:
        label, (x1, y1, x2, y2) = int(result.labels[row]), result.boxes[row].tolist()
        identity = -1 if self.observation is None else int(self.observation.ids[row])
        return FoundItem(
            label,
            class_name(result.classes, label),
            float(result.scores[row]),
            (x1, y1, x2, y2),
            result.masks[row] if isinstance(result, Instances) else None,
            None if identity < 0 else identity,
            result.keypoints[row] if isinstance(result, Poses) else None,
            tuple(result.oriented[row].tolist()) if isinstance(result, OrientedBoxes) else None,
        )

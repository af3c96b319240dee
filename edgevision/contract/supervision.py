"""Conversion of results for the library supervision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import supervision as sv

from edgevision.contract.results import Detections, Instances


def supervision_from_detections(
    detections: Detections, ids: npt.NDArray[np.int64] | None = None
) -> sv.Detections:
    """The detections as `supervision.Detections`, with `class_name` in its data and `ids` as its `tracker_id`.

    Masks become bool ``[N,H,W]`` of the smallest frame that contains all of them, because the frame's size is unknown
    here.
    """
    names = np.array([detections.class_name(int(label)) for label in detections.labels], dtype=np.str_)
    return sv.Detections(
        xyxy=detections.boxes.copy(),
        mask=_stacked_masks(detections) if isinstance(detections, Instances) else None,
        confidence=detections.scores.copy(),
        class_id=detections.labels.astype(np.int64),
        tracker_id=None if ids is None else np.asarray(ids, np.int64).copy(),
        data={"class_name": names},
    )


def _stacked_masks(instances: Instances) -> npt.NDArray[np.bool_]:
    width = max((mask.left + mask.pixels.shape[1] for mask in instances.masks), default=0)
    height = max((mask.top + mask.pixels.shape[0] for mask in instances.masks), default=0)
    whole = [mask.of_frame((width, height)) for mask in instances.masks]
    return np.stack(whole) if whole else np.zeros((0, height, width), np.bool_)

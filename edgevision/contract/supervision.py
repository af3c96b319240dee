"""Conversion of results for the library supervision."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import supervision as sv
from supervision.config import CLASS_NAME_DATA_FIELD, ORIENTED_BOX_COORDINATES

from edgevision.contract.results import Detections, Instances, OrientedBoxes, Poses

_Data = dict[str, npt.NDArray[np.generic] | list[Any]]


def supervision_from_detections(
    detections: Detections, ids: npt.NDArray[np.int64] | None = None
) -> sv.Detections:
    """The detections as `supervision.Detections`, with `class_name` in its data and `ids` as its `tracker_id`.

    Masks become bool ``[N,H,W]`` of the smallest frame that contains all of them, because the frame's size is unknown
    here. Corners of oriented boxes are in its data, float32 ``[N,4,2]``, and `boxes` are their hulls.
    """
    data: _Data = {CLASS_NAME_DATA_FIELD: _names(detections)}
    if isinstance(detections, OrientedBoxes):
        data[ORIENTED_BOX_COORDINATES] = detections.corners
    return sv.Detections(
        xyxy=detections.boxes.copy(),
        mask=_stacked_masks(detections) if isinstance(detections, Instances) else None,
        confidence=detections.scores.copy(),
        class_id=detections.labels.astype(np.int64),
        tracker_id=None if ids is None else np.asarray(ids, np.int64).copy(),
        data=data,
    )


def supervision_from_poses(poses: Poses, ids: npt.NDArray[np.int64] | None = None) -> sv.KeyPoints:
    """The poses as `supervision.KeyPoints`, with `class_name`, and `tracker_id` if there are `ids`, in its data."""
    data: _Data = {CLASS_NAME_DATA_FIELD: _names(poses)}
    if ids is not None:
        data["tracker_id"] = np.asarray(ids, np.int64).copy()
    return sv.KeyPoints(
        xy=poses.keypoints[:, :, :2].copy(),
        class_id=poses.labels.astype(np.int64),
        keypoint_confidence=poses.keypoints[:, :, 2].copy(),
        detection_confidence=poses.scores.copy(),
        data=data,
    )


def _names(detections: Detections) -> npt.NDArray[np.str_]:
    return np.array([detections.class_name(int(label)) for label in detections.labels], dtype=np.str_)


def _stacked_masks(instances: Instances) -> npt.NDArray[np.bool_]:
    width = max((mask.left + mask.pixels.shape[1] for mask in instances.masks), default=0)
    height = max((mask.top + mask.pixels.shape[0] for mask in instances.masks), default=0)
    whole = [mask.of_frame((width, height)) for mask in instances.masks]
    return np.stack(whole) if whole else np.zeros((0, height, width), np.bool_)

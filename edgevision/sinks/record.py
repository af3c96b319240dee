"""Records of frames and events as JSON."""

from __future__ import annotations

import json
import uuid
from typing import Any

from edgevision.analytics.counting import AnalyticsEvent
from edgevision.analytics.observation import Observation
from edgevision.contract.classes import class_name
from edgevision.contract.results import (
    Classification,
    Instances,
    OrientedBoxes,
    Poses,
    Result,
    Segmentation,
    Translation,
)
from edgevision.sinks.frame_result import FrameResult

TOP_CLASSES = 5


def record_of(processed: FrameResult) -> dict[str, Any]:
    """The JSON record of a frame."""
    frame = processed.frame
    position_s = None if frame.position_s is None else round(frame.position_s, 4)
    answer = answer_of(processed.result)
    observation = processed.observation
    if observation is not None:
        for entry, identity in zip(answer["detections"], observation.ids.tolist(), strict=True):
            entry["id"] = identity if identity >= 0 else None
        answer["events"] = [_event(event, processed, observation) for event in observation.events]
    return {
        "source": frame.source,
        "frame": frame.index,
        "captured_at": round(frame.captured_at, 6),
        "clock": frame.clock,
        "position_s": position_s,
        **answer,
        "age_ms": round(processed.age_ms, 3),
        "stages_ms": {stage: round(ms, 3) for stage, ms in processed.times.in_ms().items()},
    }


def event_records(processed: FrameResult, run: uuid.UUID) -> list[dict[str, Any]]:
    """A record for each event of a frame; `event_id` is the same in every repetition.

    `run` distinguishes sinks whose cameras may have the same names.
    """
    frame, observation = processed.frame, processed.observation
    if observation is None:
        return []
    return [
        {
            "event_id": str(
                uuid.uuid5(run, f"{frame.source}/{frame.captured_at:.6f}/{frame.index}/{number}")
            ),
            "source": frame.source,
            "frame": frame.index,
            "captured_at": round(frame.captured_at, 6),
            "clock": frame.clock,
            **_event(event, processed, observation),
        }
        for number, event in enumerate(observation.events)
    ]


def json_of(value: Any) -> bytes:
    """Compact JSON in UTF-8, on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def answer_of(result: Result) -> dict[str, Any]:
    """The result alone, as values that JSON takes."""
    if isinstance(result, Classification):
        best = result.top(TOP_CLASSES)
        return {
            "classification": [
                {"label": label, "class": class_name(result.classes, label), "score": round(score, 5)}
                for label, score in best
            ]
        }
    if isinstance(result, Segmentation):
        return {
            "segmentation": [
                {"label": label, "class": class_name(result.classes, label), "share": round(share, 5)}
                for label, share in result.shares()
            ]
        }
    if isinstance(result, Translation):
        return {"image": {"width": result.size_wh[0], "height": result.size_wh[1]}}
    rows = zip(result.boxes.tolist(), result.scores.tolist(), result.labels.tolist(), strict=True)
    found: list[dict[str, Any]] = [
        {
            "box": [round(value, 2) for value in box],
            "score": round(score, 5),
            "label": label,
            "class": class_name(result.classes, label),
        }
        for box, score, label in rows
    ]
    if isinstance(result, Instances):
        for entry, mask in zip(found, result.masks, strict=True):
            entry["polygons"] = [polygon.tolist() for polygon in mask.polygons()]
    if isinstance(result, Poses):
        for entry, points in zip(found, result.keypoints.tolist(), strict=True):
            entry["keypoints"] = [[round(x, 2), round(y, 2), round(sure, 5)] for x, y, sure in points]
    if isinstance(result, OrientedBoxes):
        for entry, box in zip(found, result.oriented.tolist(), strict=True):
            entry["oriented"] = [*(round(value, 2) for value in box[:4]), round(box[4], 5)]
    return {"detections": found}


def _event(event: AnalyticsEvent, processed: FrameResult, observation: Observation) -> dict[str, Any]:
    """An event as JSON; its time `at` is the position in a video, or seconds since 1970 for a camera."""
    frame = processed.frame
    now = frame.captured_at if frame.position_s is None else frame.position_s
    entry: dict[str, Any] = {"event": event.kind, "place": event.place, "id": event.identity}
    entry["class"] = class_name(processed.result.classes, event.label)
    entry["at"] = round(now - (observation.time_s - event.time_s), 3)
    if event.direction is not None:
        entry["direction"] = event.direction
    if event.dwell_s is not None:
        entry["dwell_s"] = round(event.dwell_s, 3)
    return entry

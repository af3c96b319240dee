"""Pictures of events."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from edgevision.contract.results import Detections
from edgevision.drawing.observation import annotate
from edgevision.errors import SinkError, UsageError
from edgevision.sinks.files.event_folder import EventFolder, Retention
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.record import event_records, record_of
from edgevision.sinks.sink import Sink

JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class EventImageOptions:
    """Which frames are kept, and how many."""

    retention: Retention = field(default_factory=Retention)
    classes: tuple[str, ...] = ()
    """Frames in which one of these was detected are kept too."""
    gap_s: float = 10.0
    """No two pictures of the same class from the same camera within so long."""

    def __post_init__(self) -> None:
        if self.gap_s < 0:
            raise UsageError(f"gap_s is {self.gap_s}; expected 0 or more seconds")


class EventImageSink(Sink):
    """An annotated JPEG of each frame in which something happened, and what is said about it as JSON beside it.

    Names sort by time and hold camera, event, place and identity. One who has vanished is in no picture, so there is
    none of that. See `EventFolder` for what is deleted, and when.
    """

    def __init__(self, folder: Path, options: EventImageOptions | None = None) -> None:
        self._options = options or EventImageOptions()
        self._folder = EventFolder(folder, self._options.retention)
        self._last_ns: dict[tuple[str, str], int] = {}
        """When a picture of a camera and class was kept last."""
        self._run = uuid.uuid4()
        self._encoded: tuple[FrameResult, bytes] | None = None

    @property
    def public_name(self) -> str:
        """The folder."""
        return f"events:{self._folder.folder}"

    def write(self, processed: FrameResult) -> None:
        """Keep a picture of the frame if something happened in it."""
        kept = self.keep(processed)
        if kept is not None:
            self.deliver([kept])

    def keep(self, processed: FrameResult) -> FrameResult | None:
        """Frames with a reason to be kept, their images copied: others may draw into them."""
        if self._seen_events(processed):
            return super().keep(processed)
        fresh = self._fresh_classes(processed)
        if not fresh:
            return None
        for name in fresh:
            self._last_ns[processed.frame.source, name] = processed.frame.captured_ns
        return super().keep(processed)

    def deliver(self, batch: Sequence[FrameResult]) -> None:
        """Draw, encode and write."""
        for processed in batch:
            jpeg = self._jpeg(processed)
            record = record_of(processed)
            if self._seen_events(processed):
                record["events"] = event_records(processed, self._run)
            self._folder.add(processed.frame.captured_at, self._name(processed), jpeg, record)
            self._encoded = None
            self.written += 1

    def tidy(self) -> None:
        """Delete what has become too old."""
        self._folder.enforce()

    def close(self) -> None:
        """Nothing is held open."""

    def _seen_events(self, processed: FrameResult) -> bool:
        observation = processed.observation
        return observation is not None and any(event.kind != "vanished" for event in observation.events)

    def _fresh_classes(self, processed: FrameResult) -> list[str]:
        """The wanted classes that are there and of which no picture was kept for a while."""
        result, frame = processed.result, processed.frame
        if not self._options.classes or not isinstance(result, Detections):
            return []
        there = {result.class_name(label) for label in result.labels.tolist()}
        gap_ns = self._options.gap_s * 1e9
        return [
            name
            for name in self._options.classes
            if name in there
            and frame.captured_ns - self._last_ns.get((frame.source, name), -(2**62)) >= gap_ns
        ]

    def _jpeg(self, processed: FrameResult) -> bytes:
        """Encoded once, for drawing twice tints twice."""
        if self._encoded is None or self._encoded[0] is not processed:
            annotate(processed.frame.image_bgr, processed.result, processed.observation)
            image = processed.frame.image_bgr
            encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            if not encoded:
                raise SinkError(
                    f"cannot encode frame {processed.frame.index} as JPEG: OpenCV gives no reason"
                )
            self._encoded = (processed, data.tobytes())
        return self._encoded[1]

    def _name(self, processed: FrameResult) -> str:
        frame, observation = processed.frame, processed.observation
        parts = [_plain(frame.source)[:60] or "camera"]
        events = () if observation is None else [e for e in observation.events if e.kind != "vanished"]
        if events:
            parts += [events[0].kind, _plain(events[0].place)[:40], f"id{events[0].identity}"]
        else:
            parts.append("seen")
        return "_".join([*parts, str(frame.index)])


def _plain(name: str) -> str:
    """Letters, digits, dots and hyphens: parts of a file's name are told apart by underlines."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")

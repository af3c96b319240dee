"""Event images: annotated frames in which something happened."""

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
    """Selection and limits of event images."""

    retention: Retention = field(default_factory=Retention)
    classes: tuple[str, ...] = ()
    """Frames with detections of these classes are kept too."""
    gap_s: float = 10.0
    """Minimum time between two images of the same class and camera."""

    def __post_init__(self) -> None:
        if self.gap_s < 0:
            raise UsageError(f"gap_s is {self.gap_s}; expected 0 or more seconds")


class EventImageSink(Sink):
    """An annotated JPEG of each frame with an event, with its record as JSON beside it.

    Names sort by time and contain camera, event, place and identity. A `vanished` event has no image, because the
    object is not visible. `EventFolder` defines what is deleted.
    """

    takes_images = False

    def __init__(self, folder: Path, options: EventImageOptions | None = None) -> None:
        self._options = options or EventImageOptions()
        self._folder = EventFolder(folder, self._options.retention)
        self._last_ns: dict[tuple[str, str], int] = {}
        """Capture time of the last image by camera and class."""
        self._run = uuid.uuid4()
        self._encoded: tuple[FrameResult, bytes] | None = None

    @property
    def public_name(self) -> str:
        """Address of the folder."""
        return f"events:{self._folder.folder}"

    def write(self, processed: FrameResult) -> None:
        """Keep an image of the frame if it has an event."""
        kept = self.keep(processed)
        if kept is not None:
            self.deliver([kept])

    def keep(self, processed: FrameResult) -> FrameResult | None:
        """Keep frames with a reason, and copy their images, because others may draw into them."""
        if self._seen_events(processed):
            return super().keep(processed)
        fresh = self._fresh_classes(processed)
        if not fresh:
            return None
        for name in fresh:
            self._last_ns[processed.frame.source, name] = processed.frame.captured_ns
        return super().keep(processed)

    def deliver(self, batch: Sequence[FrameResult]) -> None:
        """Draw, encode and write the images."""
        for processed in batch:
            jpeg = self._jpeg(processed)
            record = record_of(processed)
            if self._seen_events(processed):
                record["events"] = event_records(processed, self._run)
            self._folder.add(processed.frame.captured_at, self._name(processed), jpeg, record)
            self._encoded = None
            self.written += 1

    def tidy(self) -> None:
        """Delete images that are too old."""
        self._folder.enforce()

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _seen_events(self, processed: FrameResult) -> bool:
        observation = processed.observation
        return observation is not None and any(event.kind != "vanished" for event in observation.events)

    def _fresh_classes(self, processed: FrameResult) -> list[str]:
        """The detected classes without a recent image."""
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
        """The encoded image, cached because drawing twice would tint it twice."""
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
    """The name in letters, digits, dots and hyphens; underscores separate the parts of a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")

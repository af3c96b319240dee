"""CSV tables for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgevision.sinks.files.line_file import LineFile
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.record import record_of
from edgevision.sinks.sink import Sink, without_image
from edgevision.sinks.waiting import has_events

FRAME_COLUMNS = ("source", "frame", "time_utc", "captured_at", "clock", "position_s")
COLUMNS = (*FRAME_COLUMNS, "class", "label", "score", "share", "x1", "y1", "x2", "y2", "id", "age_ms")
EVENT_COLUMNS = (*FRAME_COLUMNS, "event", "place", "id", "class", "at", "direction", "dwell_s")


class CsvSink(Sink):
    """One row per detection. A classification has one per top class, a segmentation one per class.

    Events have their own table, ``FILE.events.csv``, created with the first event. A frame without detections has no
    row. The rows of a frame are written completely or not at all.
    """

    takes_images = False

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """With `append` existing files are continued."""
        self._append = append
        self._rows = LineFile(path, append=append, header=_lines([COLUMNS]))
        self._events: LineFile | None = None
        self._events_path = path.with_suffix(f".events{path.suffix}")
        self._begun: FrameResult | None = None
        """Result whose events are not yet written."""

    @property
    def public_name(self) -> str:
        """The file's path."""
        return str(self._rows.path)

    def write(self, processed: FrameResult) -> None:
        """Append the frame's rows."""
        record = record_of(processed)
        shared = _frame_cells(record)
        if processed is not self._begun:
            rows = [_cells(COLUMNS, {**shared, **row}) for row in _found(record)]
            if rows:
                self._rows.write(_lines(rows))
            self._begun = processed
        if has_events(processed):
            if self._events is None:
                header = _lines([EVENT_COLUMNS])
                self._events = LineFile(self._events_path, append=self._append, header=header)
            rows = [_cells(EVENT_COLUMNS, {**shared, **event}) for event in record["events"]]
            self._events.write(_lines(rows))
        self._begun = None
        self.written += 1

    def keep(self, processed: FrameResult) -> FrameResult | None:
        """Keep everything except the image."""
        return without_image(processed)

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        if self._events is not None:
            self._events.close()


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _found(record: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if "detections" not in record:
        return record.get("classification") or record.get("segmentation") or ()
    return (
        {**entry, **dict(zip(("x1", "y1", "x2", "y2"), entry["box"], strict=True))}
        for entry in record["detections"]
    )


def _frame_cells(record: dict[str, Any]) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record["captured_at"], timezone.utc)
    # Spreadsheets read times without T and zone.
    time_utc = moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
    return {**record, "time_utc": time_utc}


def _cells(columns: Iterable[str], values: dict[str, Any]) -> list[Any]:
    """None becomes an empty cell; a text that a spreadsheet would execute gets a leading apostrophe.

    The characters are those of OWASP's page "CSV Injection", https://owasp.org/www-community/attacks/CSV_Injection.
    Numbers keep their sign.
    """
    return [harmless(values.get(column)) for column in columns]


def harmless(value: Any) -> Any:
    """The value; a text that a spreadsheet would execute gets a leading apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()

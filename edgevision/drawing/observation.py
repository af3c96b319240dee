"""Draws identities, lines and zones into frames."""

from __future__ import annotations

import cv2
import numpy as np

from edgevision.analytics.observation import LineState, Observation, ZoneState
from edgevision.analytics.places import Point
from edgevision.contract.image import Frame
from edgevision.contract.results import Result
from edgevision.drawing.annotate import Style, class_colour, draw_label, draw_result

LINE_COLOUR = (0, 220, 255)
ZONE_COLOUR = (255, 180, 0)
ZONE_TINT = 0.18
ARROW_SHARE = 0.12
"""Length of the arrow for the direction "in", as a share of the line's length."""


def annotate(frame_bgr: Frame, result: Result, observation: Observation | None) -> None:
    """Draw a result and its observation into the frame, in place: places, trails, boxes, numbers."""
    if observation is None:
        draw_result(frame_bgr, result)
        return
    size_wh = (frame_bgr.shape[1], frame_bgr.shape[0])
    style = Style.of(size_wh)
    factor = (size_wh[0] / observation.size_wh[0], size_wh[1] / observation.size_wh[1])
    for zone in observation.zones:
        _draw_zone(frame_bgr, zone, factor, style)
    for line in observation.lines:
        _draw_line(frame_bgr, line, factor, style)
    for trail in observation.trails:
        points = np.round(trail.points * np.array(factor)).astype(np.int32)
        cv2.polylines(frame_bgr, [points], False, class_colour(trail.identity), style.line_px, cv2.LINE_AA)
    draw_result(frame_bgr, result, ids=observation.ids)
    for line in observation.lines:
        text = f"{line.line.name}: in {line.crossed_in}, out {line.crossed_out}"
        draw_label(frame_bgr, text, _pixel(line.line.scaled(factor).start_xy), LINE_COLOUR, style)
    for zone in observation.zones:
        text = f"{zone.zone.name}: {zone.inside} inside, {zone.mean_dwell_s:.0f} s"
        highest = min(zone.zone.scaled(factor).corners, key=lambda corner: corner[1])
        draw_label(frame_bgr, text, _pixel(highest), ZONE_COLOUR, style)


def _draw_zone(frame_bgr: Frame, state: ZoneState, factor: Point, style: Style) -> None:
    corners = np.round(state.zone.scaled(factor).contour).astype(np.int32)
    left, top, width, height = cv2.boundingRect(corners)
    part = frame_bgr[top : top + height, left : left + width]
    tinted = part.copy()
    cv2.fillPoly(tinted, [corners - (left, top)], ZONE_COLOUR)
    cv2.addWeighted(part, 1 - ZONE_TINT, tinted[: part.shape[0], : part.shape[1]], ZONE_TINT, 0, dst=part)
    cv2.polylines(frame_bgr, [corners], True, ZONE_COLOUR, style.line_px, cv2.LINE_AA)


def _draw_line(frame_bgr: Frame, state: LineState, factor: Point, style: Style) -> None:
    line = state.line.scaled(factor)
    (x1, y1), (x2, y2) = line.start_xy, line.end_xy
    cv2.line(frame_bgr, _pixel((x1, y1)), _pixel((x2, y2)), LINE_COLOUR, 2 * style.line_px, cv2.LINE_AA)
    middle = ((x1 + x2) / 2, (y1 + y2) / 2)
    tip = (middle[0] - (y2 - y1) * ARROW_SHARE, middle[1] + (x2 - x1) * ARROW_SHARE)
    cv2.arrowedLine(
        frame_bgr, _pixel(middle), _pixel(tip), LINE_COLOUR, 2 * style.line_px, cv2.LINE_AA, 0, 0.4
    )


def _pixel(point: Point) -> tuple[int, int]:
    return round(point[0]), round(point[1])

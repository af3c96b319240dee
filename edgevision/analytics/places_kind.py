"""Lines and zones as settings in a file."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.analytics.places import PlaceText
from edgevision.errors import UsageError
from edgevision.settings.kinds import Kind, WrongValueError, shown


@dataclass(frozen=True, slots=True)
class Places(Kind):
    """A table of lines or of zones: a name and pairs of numbers for each."""

    zones: bool

    @property
    def expected(self) -> str:
        """The expected form, for messages."""
        return (
            "a table of NAME = [x, y, x, y, x, y, ...]"
            if self.zones
            else "a table of NAME = [x1, y1, x2, y2]"
        )

    @property
    def stand_in(self) -> tuple[PlaceText, ...]:
        """No places."""
        return ()

    def read(self, value: object) -> tuple[PlaceText, ...]:
        """The places, in order."""
        if not isinstance(value, dict):
            raise self.wrong(value)
        return tuple(self._place(str(name), numbers) for name, numbers in value.items())

    def _place(self, name: str, numbers: object) -> PlaceText:
        what = "3 corners or more, as x, y, x, y, x, y ..." if self.zones else "two points, as x1, y1, x2, y2"
        if not name.strip() or not name.isprintable():
            raise WrongValueError(f"{shown(name)} is not a name; expected printable characters", (name,))
        if not isinstance(numbers, list):
            raise WrongValueError(f"expected an array of numbers: {what}; received {shown(numbers)}", (name,))
        for number, item in enumerate(numbers):
            if isinstance(item, bool) or not isinstance(item, (int, float)) or not 0 <= item < 1e5:
                raise WrongValueError(
                    "expected pixels of the frame, or shares of it from 0 to 1 if no number exceeds 1;"
                    f" received {shown(item)}",
                    (name, number),
                )
        count = len(numbers)
        if count % 2 or count < 6 if self.zones else count != 4:
            raise WrongValueError(f"expected {what}; received {count} numbers", (name,))
        place = PlaceText(name, tuple(float(item) for item in numbers))
        try:  # checked in a frame that fits any coordinates
            frame_wh = (100_000, 100_000)
            place.zone(frame_wh) if self.zones else place.line(frame_wh)
        except UsageError as error:
            raise WrongValueError(str(error), (name,)) from error
        return place

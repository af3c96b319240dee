"""Checks of a deployment against its bundle and this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import ModelSpec
from edgevision.engines.devices import find_device
from edgevision.engines.fastest import BUILT
from edgevision.errors import EdgevisionError
from edgevision.service.config.addressing import (
    check_network_address,
    sink_address,
    sink_kind,
)
from edgevision.service.config.document import Problem
from edgevision.service.config.plans import page_options
from edgevision.service.config.schema import Reader, spelled
from edgevision.service.config.settings import (
    CameraSettings,
    ModelSettings,
    PageSettings,
    Settings,
    SinkSettings,
)
from edgevision.settings.kinds import KeyPath, nearest
from edgevision.sinks.addresses import EXPECTED
from edgevision.sources.addresses import SourceAddress, public_name

EVENTS_ONLY = ("keep", "max_mib", "max_days", "classes", "gap_s")
WEBHOOKS_ONLY = ("token", "secret")


class Checker:
    """Adds problems between several values to a reader's problems; `warnings` do not prevent a run."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        self.warnings: list[Problem] = []
        self._settings = settings
        self._reader = reader
        self._wrong = reader.wrong

    def check(self) -> None:
        """Run all checks."""
        settings = self._settings
        spec = self._model(settings.model)
        self._unique("camera", [camera.name for camera in settings.cameras])
        self._unique("sink", [sink.name for sink in settings.sinks])
        if self._reader.document.data.get("camera") == []:
            self._wrong(("camera",), "there is no camera; expected [[camera]] above the keys of each")
        for number, camera in enumerate(settings.cameras):
            self._camera(("camera", number), camera, spec)
        self._sinks(settings.sinks, spec)
        if settings.page is not None:
            self._page(settings.page)

    def _unique(self, table: str, names: Sequence[str]) -> None:
        first: dict[str, int] = {}
        for number, name in enumerate(names):
            if name and name in first:
                line = self._reader.document.line((table, first[name], "name"))
                self._wrong(
                    (table, number, "name"),
                    f'"{name}" is already used in line {line}; expected different names',
                )
            first.setdefault(name, number)

    def _model(self, model: ModelSettings) -> ModelSpec | None:
        """The model's spec in the bundle; None if the bundle cannot be opened."""
        if model.build and model.engine not in BUILT:
            expected = " or ".join(f'"{engine}"' for engine in BUILT)
            self._wrong(("model", "build"), f"is not possible for this engine; expected engine = {expected}")
        if not model.bundle:
            return None
        try:
            bundle = Bundle.open(self._settings.path(model.bundle))
            _ = bundle.spec.frames  # cameras give frames
        except EdgevisionError as error:
            self._wrong(("model", "bundle"), str(error))
            return None
        if model.opening.precision is not None:
            try:
                bundle.graph(model.opening.precision)
            except EdgevisionError as error:
                self._wrong(("model", "precision"), str(error))
        try:
            find_device(model.opening.device)
        except EdgevisionError as error:
            self._wrong(("model", "device"), str(error))
        return bundle.spec

    def _camera(self, path: tuple[str, int], camera: CameraSettings, spec: ModelSpec | None) -> None:
        before = len(self._reader.problems)
        self._address(path, camera)
        names = [sink.name for sink in self._settings.sinks]
        for number, name in enumerate(camera.sinks):
            if name not in names:
                near = nearest(name, names) or f"; expected one of: {', '.join(names) or 'none'}"
                self._wrong((*path, "sinks"), f'there is no sink "{name}"{near}', (number,))
        areas = (camera.analytics.min_area, camera.analytics.max_area)
        if areas[0] > areas[1]:
            self._wrong((*path, "min_area"), f"is {areas[0]:g}; expected at most max_area, {areas[1]:g}")
        if spec is None:
            return
        self._classes((*path, "only"), camera.analytics.only, spec)
        if len(self._reader.problems) == before:
            try:
                camera.analytics.check(spec)
            except EdgevisionError as error:
                self._wrong(path, str(error))

    def _address(self, path: tuple[str, int], camera: CameraSettings) -> None:
        if not camera.address:
            return
        here = (*path, "address")
        try:
            check_network_address(camera.address)
            address = SourceAddress.parse(camera.address).within(self._settings.folder)
            if address.scheme is not None and (address.path is None or address.path.exists()):
                address.feed_factory(camera.connection)
        except EdgevisionError as error:
            self._wrong(here, str(error).replace(camera.address, public_name(camera.address)))
            return
        if address.path is not None and not address.path.exists():
            self._wrong(here, f"there is no file or folder {address.path}")
        if address.device is not None and not Path(f"/dev/video{address.device[0]}").exists():
            self._warn(here, f"/dev/video{address.device[0]} does not exist now")

    def _sinks(self, sinks: Sequence[SinkSettings], spec: ModelSpec | None) -> None:
        first: dict[str, int] = {}
        used = {name for camera in self._settings.cameras for name in camera.sinks}
        for number, sink in enumerate(sinks):
            here = ("sink", number, "address")
            address = sink_address(sink.address, self._settings.folder)
            if sink.address and address in first:
                other = sinks[first[address]].name
                self._wrong(
                    here,
                    f'is also the address of sink "{other}"; expected one sink, which can serve several'
                    " cameras",
                )
            first.setdefault(address, number)
            self._sink(number, sink, spec)
            if sink.name and sink.name not in used:
                self._warn(("sink", number), f'no camera uses the sink "{sink.name}"')

    def _sink(self, number: int, sink: SinkSettings, spec: ModelSpec | None) -> None:
        if not sink.address:
            return
        kind = sink_kind(sink.address)
        if kind is None:
            self._wrong(("sink", number, "address"), f"is not the address of a sink; {EXPECTED}")
            return
        try:
            check_network_address(sink.address)
        except EdgevisionError as error:
            self._wrong(("sink", number, "address"), str(error))
        for key in set(EVENTS_ONLY if kind != "events" else ()) | set(
            WEBHOOKS_ONLY if kind != "webhook" else ()
        ):
            if ("sink", number, key) in self._reader.document.lines:
                whose = "events:FOLDER" if key in EVENTS_ONLY else "webhooks"
                self._wrong(("sink", number, key), f"is only valid for {whose}")
        if spec is not None:
            self._classes(("sink", number, "classes"), sink.options.classes, spec)
        self._events(number, sink, kind)

    def _events(self, number: int, sink: SinkSettings, kind: str) -> None:
        """A sink that receives only events needs a camera with events."""
        users = [camera for camera in self._settings.cameras if sink.name in camera.sinks]
        if not users or any(camera.analytics.lines or camera.analytics.zones for camera in users):
            return
        events_alone = {"webhook": not sink.options.every_result, "mqtt": sink.options.every_result is False}
        if events_alone.get(kind, False) or (kind == "events" and not sink.options.classes):
            remedy = "classes" if kind == "events" else "every_result = true"
            self._wrong(
                ("sink", number),
                f"receives only events, and none of its cameras creates events; expected lines or zones, or {remedy}"
                " for the sink",
            )

    def _classes(self, path: KeyPath, names: Sequence[str], spec: ModelSpec) -> None:
        known = (*spec.classes, *map(str, range(len(spec.classes))))
        for number, name in enumerate(names):
            if name not in known:
                near = (
                    nearest(name, spec.classes) or f"; expected one of: {', '.join(spec.classes) or 'none'}"
                )
                self._wrong(path, f'the model has no class "{name}"{near}', (number,))

    def _page(self, page: PageSettings) -> None:
        if page.token_env is not None and page.token_file is not None:
            self._wrong(("page", "token_file"), "conflicts with token_env; expected only one of them")
            return
        try:
            options = page_options(page, self._settings.folder, self._reader.environment)
        except EdgevisionError as error:
            key = "token_file" if page.token_file is not None else "token_env"
            self._wrong(("page", key) if getattr(page, key) is not None else ("page",), str(error))
            return
        if options.needs_token and options.token is None:
            self._wrong(
                ("page", "host"),
                "makes the page reachable from other machines; expected token_file or token_env",
            )

    def _warn(self, path: KeyPath, text: str) -> None:
        self.warnings.append(self._reader.document.problem(path, f"{spelled(path)}: {text}"))

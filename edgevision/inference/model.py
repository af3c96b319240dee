"""A model that is called like a function."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

from edgevision.analytics.options import AnalyticsOptions
from edgevision.contract.image import Frame
from edgevision.contract.inputs import Region, TensorInput
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import ModelSpec, Precision
from edgevision.contract.thresholds import Threshold, least_of
from edgevision.contract.tiles.options import TileOptions
from edgevision.contract.tiles.session import TiledSession
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.explain.maps import ExplainOptions, Explanation, explain
from edgevision.explain.target import TargetChoice
from edgevision.inference.codes import Codes, CodeType, joined
from edgevision.inference.coding import (
    Autoencoder,
    EncodeOptions,
    decode_each,
    encode_each,
    interpolate_each,
    interpolation,
    row_of,
)
from edgevision.inference.editing import EditOptions, edit, mask_of_image
from edgevision.inference.generation import GeneratedImage, GenerateOptions, Generation, generate_each
from edgevision.inference.inputs import Colour, InputImage, images_of, is_single
from edgevision.inference.prediction import Prediction
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_streams
from edgevision.pipeline.streams import SourceStream
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink
from edgevision.sources.addresses import SourceAddress
from edgevision.sources.channel import Channel, ChannelClosed
from edgevision.sources.frames import Source
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions

WAITING = 2
"""Results of a file that may wait for the caller of `Model.stream`; of a live source the newest one."""
JOIN_S = 5.0


class Model:
    """An opened model: ``model("bus.jpg")``, or ``for frame, prediction in model.stream("rtsp://...")``.

    Calls from several threads are safe; they share one engine. Close it, or use it as a context manager.
    """

    def __init__(self, session: Session, *, threshold: Threshold | None = None) -> None:
        """`threshold` is the default of all calls; None: the bundle's operating point, or 0.25 without one."""
        self.session = session
        self.threshold: Threshold = session.threshold if threshold is None else threshold
        """Minimum confidence of a detection; one number, or one for each class."""

    @property
    def spec(self) -> ModelSpec:
        """Inputs, outputs and classes."""
        return self.session.spec

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label."""
        return self.spec.classes

    @overload
    def __call__(
        self, images: str | Path | Frame, *, threshold: Threshold | None = None, colour: Colour = "bgr"
    ) -> Prediction: ...
    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...] | Iterator[Any],
        *,
        threshold: Threshold | None = None,
        colour: Colour = "bgr",
    ) -> list[Prediction]: ...

    def __call__(
        self, images: object, *, threshold: Threshold | None = None, colour: Colour = "bgr"
    ) -> Prediction | list[Prediction]:
        """Predict one image, or several in batches.

        One image is a path, an address, a PIL image or a uint8 array ``[H,W,3]``, ``[H,W,4]`` or ``[H,W]`` in the
        channel order `colour`; the answer is one `Prediction`. A folder, a pattern, an array ``[B,H,W,3]``, a list or
        a generator gives a list. Raises `UsageError` for another type, `SourceError` for a file that cannot be read.
        """
        predictions = list(self._predict(images_of(images, colour), threshold))
        if not is_single(images):
            return predictions
        return predictions[0]

    def stream(
        self,
        source: str | Path | SourceAddress | Source,
        *,
        threshold: Threshold | None = None,
        analytics: AnalyticsOptions | None = None,
        camera: CameraOptions | None = None,
        limit: int | None = None,
    ) -> Iterator[tuple[Frame, Prediction]]:
        """Frames of a video, folder or camera with their predictions, until the source ends or the loop is left.

        Decoding and inference run in other threads. Files give every frame; a live source gives its newest result and
        drops the others. `analytics` tracks and counts: see `Prediction.observation`. Raises `SourceError`.
        """
        opened = source if isinstance(source, Source) else open_source(source, camera)
        used = self.threshold if threshold is None else threshold
        observer = analytics.open_if_wanted(self.spec, opened.fps, used) if analytics else None
        results: Channel[FrameResult] = Channel(1 if opened.live else WAITING, newest=opened.live)
        stream = SourceStream(opened, [_ChannelSink(results)], threshold=used, analytics=observer)
        stopping = threading.Event()
        failure: list[BaseException] = []

        def work() -> None:
            try:
                run_streams(
                    self.session, [stream], options=PipelineOptions(limit=limit), stop=stopping.is_set
                )
            except ChannelClosed:  # the loop was left
                pass
            except BaseException as error:  # raised again in the caller's thread
                failure.append(error)
            finally:
                results.end()

        worker = threading.Thread(target=work, name="model stream", daemon=True)
        worker.start()
        try:
            with contextlib.suppress(ChannelClosed):
                while True:
                    done = results.take()
                    yield done.frame.image_bgr, _prediction(done)
            if failure:
                raise failure[0]
        finally:
            stopping.set()
            results.abort()
            # Ends a read that waits. Files are closed by `run_streams`, whose thread may still read them.
            if opened.live:
                opened.close()
            worker.join(JOIN_S)

    def explain(
        self,
        image: str | Path | Frame,
        *,
        class_name: str | None = None,
        index: int | None = None,
        masks: int = 800,
        colour: Colour = "bgr",
    ) -> Explanation:
        """Heat map of the image regions that the best result depends on, or the best of `class_name`.

        `index` selects another result in the order of scores, from 0. The model runs about `masks` times; more masks
        reduce noise. Raises `UsageError` for several images, or if no result matches.
        """
        if not is_single(image):
            raise UsageError("explain takes one image")
        (input_image,) = images_of(image, colour)
        choice = TargetChoice(index, class_name, self.threshold)
        return explain(self.session, input_image.frame_bgr, choice, ExplainOptions(masks))

    def generate(
        self,
        label: int | str | Sequence[int | str] | None = None,
        *,
        text: str | None = None,
        seed: int = 0,
        count: int = 1,
        first: int = 0,
    ) -> Generation:
        """Make `count` images from noise with a model of task generate.

        `label` is a class by number or name, or several that the images have in turn; None: every class in turn.
        `text` is for models that take one. The noise of an image depends on the seed and the image's number only, which
        is `first` for the first image. Raises `UsageError` for a label that the model lacks, a missing text, and a
        model that takes images.
        """
        labels = () if label is None else (label,) if isinstance(label, int | str) else tuple(label)
        options = GenerateOptions(labels, seed, count, first, text)
        return Generation(tuple(generate_each(self.session, options)))

    def edit(
        self,
        image: str | Path | Frame,
        mask: str | Path | Frame,
        label: int | str | None = None,
        *,
        text: str | None = None,
        seed: int = 0,
        colour: Colour = "bgr",
    ) -> GeneratedImage:
        """Fill the region of an image where a mask of the same size is at least 128, and keep all other pixels.

        `label`, a class by number or name, and `text` are for models that take them; without, the other pixels decide.
        Raises `UsageError` for another size than the model's, an empty mask, and a model that fills no regions.
        """
        pairs = [next(images_of(given, colour)) for given in (image, mask)]
        region = Region(pairs[0].frame_bgr, mask_of_image(pairs[1].frame_bgr))
        return edit(self.session, region, EditOptions(label, text, seed), Path(pairs[0].name).name)

    def encode(
        self,
        images: object,
        label: int | str | None = None,
        *,
        dtype: CodeType = "float16",
        colour: Colour = "bgr",
    ) -> Codes:
        """Codes of one image or several, in the forms that a call of the model takes, with an autoencoder.

        An image of another size is stretched to the model's. `label` is the class of all images; None: of each image
        the class with the best reconstruction. Raises `UsageError` for a model without an encoder.
        """
        options = EncodeOptions(label, dtype)
        batches = encode_each(self._autoencoder, images_of(images, colour), options)
        return joined([batch.codes for batch in batches])

    def decode(self, codes: Codes | str | Path, label: int | str | None = None) -> Generation:
        """Images of codes, or of a file of codes; `label` replaces their labels.

        Raises `UsageError` for codes of another model, and a model without a decoder; `SourceError` for a file that
        cannot be read.
        """
        given = codes if isinstance(codes, Codes) else Codes.load(codes)
        return Generation(tuple(decode_each(self._autoencoder, given, label)))

    def interpolate(
        self,
        first: Codes | str | Path | Frame,
        second: Codes | str | Path | Frame,
        steps: int = 8,
        *,
        label: int | str | None = None,
        colour: Colour = "bgr",
    ) -> Generation:
        """`steps` images on the straight line between two codes or images, both included.

        Each has the label of the nearer end, or `label`. Raises `UsageError` for fewer than two steps, and a model
        without an encoder.
        """
        ends = [
            end if isinstance(end, Codes) else self.encode(end, label, dtype="float32", colour=colour)
            for end in (first, second)
        ]
        line = interpolation(ends[0], ends[1], steps)
        return Generation(tuple(interpolate_each(self._autoencoder, line, label)), row_of(steps))

    @functools.cached_property
    def _autoencoder(self) -> Autoencoder:
        return Autoencoder(self.spec, self.session.coders)

    def close(self) -> None:
        """Free the engine; the model cannot be used afterwards."""
        if self.session.coders:
            self._autoencoder.close()
        self.session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        taken = self.spec.input
        size = "from noise" if isinstance(taken, TensorInput) else "x".join(map(str, taken.size_wh))
        info, precision = self.session.info, self.session.precision or "float"
        return (
            f"<{self.spec.name}: {self.spec.task}, {len(self.classes)} classes, {size}, {precision} in"
            f" {info.library} on {info.device}>"
        )

    def _predict(self, images: Iterator[InputImage], threshold: Threshold | None) -> Iterator[Prediction]:
        used = self.threshold if threshold is None else threshold
        if not 0 <= least_of(used) <= 1:
            raise UsageError(f"threshold is {used:g}; expected a confidence from 0 to 1")
        while batch := list(itertools.islice(images, self.spec.frames.batch.opt)):
            results = self.session([image.frame_bgr for image in batch], threshold=used)
            for image, result in zip(batch, results, strict=True):
                yield Prediction(result, image.frame_bgr, image.name)


class _ChannelSink(Sink):
    """Hands results to the loop of `Model.stream`, and waits for it where the source is a file."""

    def __init__(self, results: Channel[FrameResult]) -> None:
        self._results = results

    def write(self, processed: FrameResult) -> None:
        """Pass on; raises `ChannelClosed` after the loop was left."""
        self._results.put(processed)

    def close(self) -> None:
        """Nothing is held open."""


def load(
    model: str | Path,
    *,
    engine: str | None = None,
    precision: Precision | None = None,
    device: str | None = None,
    threshold: Threshold | None = None,
    options: SessionOptions | None = None,
    tiles: TileOptions | None = None,
) -> Model:
    """Open a packaged bundle by name, a bundle's folder, or a bundle's ``.onnx`` file.

    `device` is ``cpu``, ``cuda``, ``cuda:N`` or ``dla:N``. Without `engine` and `precision`, the fastest that
    `edgevision verify` or `bench` stored on this machine is used, else the first verified engine.
    ``model.session.selection`` gives the reason.
    `threshold` is the minimum confidence of a detection; None: the bundle's operating point, or 0.25 without one.
    With `tiles`, an image-to-image model covers frames of any size with overlapping tiles of the graph's size.

    Raises `BundleError` for a model that does not exist or is damaged, `UsageError` for a device that this machine
    lacks, `MissingExtraError` if the engine is not installed, `EngineError` if it cannot run the graph.
    """
    if options is None:
        options = SessionOptions(precision=precision, device=device)
    elif precision is not None or device is not None:
        raise UsageError("expected precision and device as arguments or in options; received both")
    session = open_session(model, engine=engine, options=options)
    if tiles is not None:
        try:
            session = TiledSession(session, tiles)
        except UsageError:
            session.close()
            raise
    return Model(session, threshold=threshold)


def _prediction(done: FrameResult) -> Prediction:
    frame = done.frame
    return Prediction(done.result, frame.image_bgr, frame.source, frame.index, done.age_ms, done.observation)

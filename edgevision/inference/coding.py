"""Encoding of images to codes by an autoencoder, decoding, and interpolation between codes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.contract.classes import class_name
from edgevision.contract.image import Frame, fit_frame, psnr_from_error
from edgevision.contract.inputs import Kind, Tensors
from edgevision.contract.session import Session
from edgevision.contract.spec import FrameInput, ModelSpec
from edgevision.errors import BundleError, UsageError
from edgevision.inference.codes import Codes, CodeType, codes_of_type, joined
from edgevision.inference.generation import WIDE_CLASSES, GeneratedImage, Origin, labels_of
from edgevision.inference.inputs import InputImage

ENCODER, DECODER = "encoder", "decoder"
INPUTS: Mapping[str, tuple[Kind, ...]] = {ENCODER: ("image",), DECODER: ("values", "label")}
"""Kinds of the inputs of both graphs."""
EQUAL_PSNR = 100.0
"""PSNR in dB of an image that is decoded without any difference."""
Images = npt.NDArray[np.uint8]
"""uint8 ``[B,H,W,3]`` BGR."""


class Autoencoder:
    """Encoder and decoder of one model; each is opened by its first use. Calls from several threads are safe."""

    def __init__(self, spec: ModelSpec, openers: Mapping[str, Callable[[], Session]]) -> None:
        """`openers` are `Session.coders`; raises `UsageError` for a model without them."""
        missing = [name for name in (ENCODER, DECODER) if name not in openers]
        if missing:
            raise UsageError(
                f"{spec.name} has no {missing[0]}; expected a bundle of an autoencoder: edgevision export vae"
                " --checkpoint RUN -o BUNDLE"
            )
        self.spec = spec
        self._openers, self._open = openers, dict[str, Session]()
        self._lock = threading.Lock()

    @property
    def encoder(self) -> Session:
        """Images to codes."""
        return self._session(ENCODER)

    @property
    def decoder(self) -> Session:
        """Codes and labels to images."""
        return self._session(DECODER)

    @property
    def source_sha256(self) -> str:
        """Of the checkpoint; empty for random weights."""
        return self.spec.provenance.source_sha256 or ""

    def codes(self, images: Images) -> npt.NDArray[np.float32]:
        """The codes float32 ``[B,K]`` of images of the model's size."""
        return np.asarray(_padded(self.encoder, Tensors((images,))), np.float32)

    def images(self, codes: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]) -> Images:
        """The images of codes and labels."""
        return np.asarray(_padded(self.decoder, Tensors((codes, labels))), np.uint8)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            for name in list(self._open):
                self._open.pop(name).close()

    def __enter__(self) -> Autoencoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _session(self, name: str) -> Session:
        with self._lock:
            if name not in self._open:
                session = self._openers[name]()
                kinds = tuple(tensor.kind for tensor in session.spec.tensors.tensors)
                if kinds != INPUTS[name]:
                    session.close()
                    raise BundleError(
                        f"the {name} of {self.spec.name} takes {', '.join(kinds)}; expected {', '.join(INPUTS[name])}:"
                        " export the bundle again"
                    )
                self._open[name] = session
            return self._open[name]


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How images are encoded."""

    label: int | str | None = None
    """Class of all images, by number or name; None: of each image the class with the best reconstruction."""
    dtype: CodeType = "float16"
    check: bool = False
    """Decode each code, and measure the difference from the image."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedBatch:
    """Codes of some images."""

    codes: Codes
    psnr: tuple[float, ...]
    """PSNR in dB of each decoded image to the image of the model's size; empty unless it was asked for."""


@dataclass(frozen=True, slots=True)
class CodeOrigin(Origin):
    """Where a decoded image comes from."""

    source: str = ""
    """Name of the file of the encoded image; empty for an array."""
    other: str = ""
    """The same of the second image, of an interpolation."""
    share: float | None = None
    """Share of the second code, of an interpolation."""

    @property
    def file_stem(self) -> str:
        """The place among the codes: names of files in a file of codes are not trusted."""
        return f"{self.number:05d}"

    def entries(self) -> dict[str, str]:
        """Text entries of a PNG file, by keyword."""
        found = self.stated("trainedAlgorithmicMedia")
        del found["edgevision:seed"]
        found["Description"] = f"Image decoded by the model {self.model}"
        further = {"source": self.source, "other-source": self.other}
        if self.share is not None:
            further["share"] = f"{self.share:.4g}"
        return found | {f"edgevision:{name}": _plain(text) for name, text in further.items() if text}


def encode_each(
    model: Autoencoder, images: Iterable[InputImage], options: EncodeOptions
) -> Iterator[EncodedBatch]:
    """Encode images in batches of the graph's usual size; an image of another size is stretched to the model's.

    Training scales images in the same way. Raises `UsageError` for a label that the model lacks, and for a code that
    exceeds float16; `EngineError` if the engine fails.
    """
    label = label_of_codes(model.spec, options.label)
    encoder = model.encoder.spec
    height, width = encoder.tensors.tensors[0].shape[:2]
    target = FrameInput((width, height), "stretch")
    pending = iter(images)
    while batch := list(itertools.islice(pending, encoder.batch.opt)):
        fitted = np.stack([_fitted(image.frame_bgr, target) for image in batch])
        values = codes_of_type(model.codes(fitted), options.dtype)
        labels = np.full(len(batch), label or 0, np.int32)
        if label is None:
            labels = _best_labels(model, values, fitted)
        names = tuple(Path(image.name).name for image in batch)
        codes = Codes(values, _smallest(labels, model), names, model.source_sha256)
        psnr: tuple[float, ...] = ()
        if options.check:
            errors = _errors(fitted, model.images(values.astype(np.float32), labels))
            psnr = tuple(psnr_from_error(float(error), EQUAL_PSNR) for error in errors)
        yield EncodedBatch(codes, psnr)


def decode_each(model: Autoencoder, codes: Codes, label: int | str | None = None) -> Iterator[GeneratedImage]:
    """Decode codes in batches, one image after another; `label` replaces the labels of the codes.

    Raises `UsageError` for codes of another model, of another size or with labels that the model lacks; `EngineError`
    if the engine fails.
    """
    check_codes(model, codes)
    wanted = label_of_codes(model.spec, label)
    labels = np.asarray(codes.labels if wanted is None else np.full(len(codes), wanted), np.int32)
    session = model.decoder
    for start in range(0, len(codes), session.spec.batch.opt):
        rows = slice(start, start + session.spec.batch.opt)
        images = model.images(np.asarray(codes.values[rows], np.float32), labels[rows])
        for number, image in enumerate(images, start):
            known = int(labels[number])
            name = class_name(model.spec.classes, known)
            library, source = session.info.library, codes.names[number]
            origin = CodeOrigin(
                model.spec.name, session.graph_sha256, library, 0, number, known, name, None, source
            )
            yield GeneratedImage(image, origin)


@dataclass(frozen=True, slots=True, eq=False)
class Interpolation:
    """Codes on the straight line from one code to another, both included."""

    codes: Codes
    """Their names are that of the first code, their labels those of the nearer one."""
    other: str
    """Name of the second code."""
    shares: tuple[float, ...]
    """Share of the second code in each."""


def interpolation(first: Codes, second: Codes, steps: int) -> Interpolation:
    """`steps` codes from the one code of `first` to that of `second`.

    Raises `UsageError` for fewer than two steps, several codes, or codes of two models.
    """
    if steps < 2:
        raise UsageError(f"an interpolation has at least 2 images, its ends; received {steps}")
    if len(first) != 1 or len(second) != 1:
        raise UsageError(f"an interpolation takes two codes; received {len(first)} and {len(second)}")
    pair = joined((first, second))
    ends = np.asarray(pair.values, np.float32)
    shares = np.linspace(0, 1, steps, dtype=np.float32)
    values = (1 - shares[:, None]) * ends[0] + shares[:, None] * ends[1]
    labels = np.where(shares < 0.5, pair.labels[0], pair.labels[1])
    codes = Codes(values, labels, (pair.names[0],) * steps, pair.source_sha256)
    return Interpolation(codes, pair.names[1], tuple(map(float, shares)))


def interpolate_each(
    model: Autoencoder, line: Interpolation, label: int | str | None = None
) -> Iterator[GeneratedImage]:
    """The images of an interpolation, as `decode_each`."""
    for item, share in zip(decode_each(model, line.codes, label), line.shares, strict=True):
        assert isinstance(item.origin, CodeOrigin), "of a decoded image"
        yield GeneratedImage(item.image, replace(item.origin, other=line.other, share=share))


def row_of(steps: int) -> int | None:
    """Columns of the sheet of an interpolation: one row for up to `WIDE_CLASSES` images."""
    return steps if steps <= WIDE_CLASSES else None


def check_codes(model: Autoencoder, codes: Codes) -> None:
    """Raise `UsageError` unless these are codes of the model, with labels that it knows."""
    code, label = model.decoder.spec.tensors.tensors
    if codes.values.shape[1:] != code.shape:
        raise UsageError(
            f"codes have {codes.values.shape[1]} values; {model.spec.name} decodes {code.shape[0]}: pass the bundle"
            " that encoded them"
        )
    if codes.source_sha256 and model.source_sha256 and codes.source_sha256 != model.source_sha256:
        raise UsageError(
            f"the codes were made by weights with sha256 {codes.source_sha256[:12]}...; {model.spec.name} has"
            f" {model.source_sha256[:12]}...: pass the bundle that encoded them"
        )
    wrong = [int(one) for one in codes.labels if not 0 <= one < label.limit]
    if wrong:
        raise UsageError(
            f"{model.spec.name} has {label.limit} classes; expected labels from 0 to {label.limit - 1}; the codes have"
            f" {wrong[0]}"
        )


def label_of_codes(spec: ModelSpec, wanted: int | str | None) -> int | None:
    """The number of a class by number or name; None without one. Raises `UsageError` for a class it lacks."""
    return None if wanted is None else labels_of(spec, (wanted,))[0]


def _best_labels(
    model: Autoencoder, values: npt.NDArray[np.floating], images: Images
) -> npt.NDArray[np.int32]:
    """Of each code the label with the least error of reconstruction."""
    codes = np.asarray(values, np.float32)
    if not np.isfinite(codes).all():  # `Codes` has the message
        return np.zeros(len(codes), np.int32)
    count = model.decoder.spec.tensors.tensors[1].limit
    errors = [
        _errors(images, model.images(codes, np.full(len(codes), label, np.int32))) for label in range(count)
    ]
    return np.asarray(np.argmin(errors, axis=0), np.int32)


def _errors(images: Images, made: Images) -> npt.NDArray[np.float64]:
    """The mean squared difference of each image, in levels of 255."""
    return np.asarray(((images.astype(np.float64) - made) ** 2).mean(axis=(1, 2, 3)))


def _plain(text: str) -> str:
    """Text that a PNG file can hold; names in a file of codes may be any."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _fitted(frame: Frame, target: FrameInput) -> Frame:
    return fit_frame(frame, target)[0]


def _smallest(labels: npt.NDArray[np.int32], model: Autoencoder) -> npt.NDArray[np.unsignedinteger]:
    """The labels in the smallest type that holds all classes of the model."""
    return labels.astype(np.min_scalar_type(max(len(model.spec.classes) - 1, 1)))


def _padded(session: Session, tensors: Tensors) -> npt.NDArray[Any]:
    """The output for any number of rows up to the usual batch size, filled up with copies of the last one."""
    rows = np.arange(session.spec.batch.opt).clip(max=len(tensors) - 1)
    (output,) = session.infer(tensors[rows])
    return output[: len(tensors)]

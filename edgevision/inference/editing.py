"""Editing of an image: a model fills the region of a mask and keeps all other pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.contract.classes import ANY, class_name
from edgevision.contract.inputs import MASKED, InputTensor, Region, tensors_for
from edgevision.contract.session import Session
from edgevision.contract.spec import ModelSpec
from edgevision.errors import UsageError
from edgevision.inference.generation import GeneratedImage, Origin, labels_of, tokens_of

NUMBER = 0
"""Number of an edited image, of which its noise is a function."""


@dataclass(frozen=True, slots=True)
class EditOptions:
    """What the region shows; without a label and a text, the other pixels alone decide."""

    label: int | str | None = None
    """A class by number or name."""
    text: str | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EditOrigin(Origin):
    """Where an edited image comes from."""

    source: str = ""
    """Name of the file of the given image; empty for an array."""

    def entries(self) -> dict[str, str]:
        """Text entries of a PNG file, by keyword."""
        found = self.stated("compositeWithTrainedAlgorithmicMedia")
        found["Description"] = f"Image with a region made by the model {self.model}"
        if self.source:
            found["edgevision:source"] = self.source
        return found


def edit(session: Session, region: Region, options: EditOptions, source: str = "") -> GeneratedImage:
    """Fill a region of an image; `source` names the image's file.

    Raises `UsageError` for an image or a mask of another size than the model's, a mask that selects nothing, a label
    that the model lacks, a text without use, and a model that fills no regions; `EngineError` if the engine fails.
    """
    spec = session.spec
    check_region(spec, region)
    label = label_of(spec, options.label)
    wants_text = spec.tensors.of_kind("tokens") is not None
    text = options.text or "" if wants_text else options.text
    tokens = tokens_of(session, text)
    rows_of_text = None if tokens is None else tokens[None]
    tensors = tensors_for(spec.tensors, options.seed, [NUMBER], [label or 0], rows_of_text, region)
    (images,) = session.infer(tensors[np.zeros(spec.tensors.batch.opt, np.int64)])
    origin = EditOrigin(
        spec.name,
        session.graph_sha256,
        session.info.library,
        options.seed,
        NUMBER,
        label,
        None if label is None else class_name(spec.classes, label),
        text or None,
        source,
    )
    return GeneratedImage(images[0], origin)


def label_of(spec: ModelSpec, wanted: int | str | None) -> int | None:
    """The number of a class by number or name; without one, that of "any" or None for a model without classes.

    Raises `UsageError` for a class that the model lacks, and if it needs one.
    """
    if wanted is None and ANY in spec.classes:
        return spec.classes.index(ANY)
    chosen = labels_of(spec, () if wanted is None else (wanted,))
    if wanted is None and chosen:
        raise UsageError(f"{spec.name} needs a class; pass a label, one of {', '.join(spec.classes)}")
    return chosen[0] if chosen else None


def check_region(spec: ModelSpec, region: Region) -> None:
    """Raise `UsageError` unless the model fills regions of such an image, and the mask selects pixels."""
    image, mask = region_inputs(spec)
    for given, name, array in ((image, "an image", region.image), (mask, "a mask", region.mask)):
        if array.shape != given.shape or array.dtype != np.uint8:
            height, width = given.shape[:2]
            raise UsageError(
                f"{spec.name} takes {name} of {width}x{height} pixels; received {_size(array)}: scale or crop it"
            )
    if not (region.mask >= MASKED).any():
        raise UsageError(
            f"the mask selects no pixel; expected values of at least {MASKED} where the image is to be filled, received"
            f" at most {int(region.mask.max())}"
        )


def region_inputs(spec: ModelSpec) -> tuple[InputTensor, InputTensor]:
    """The inputs of image and mask; raises `UsageError` for a model without them."""
    image, mask = (spec.tensors.of_kind(kind) for kind in ("image", "mask"))
    if image is None or mask is None:
        raise UsageError(f"{spec.name} makes whole images from noise; run: edgevision generate BUNDLE -o DIR")
    return image, mask


def mask_of_image(image_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A mask ``[H,W]`` from an image file ``[H,W,3]``: the largest of its channels."""
    return np.asarray(image_bgr.max(2))


def _size(array: npt.NDArray[np.uint8]) -> str:
    if array.ndim < 2:
        return f"an array {list(array.shape)}"
    return f"{array.shape[1]}x{array.shape[0]}" + ("" if array.dtype == np.uint8 else f" of {array.dtype}")


def check_output_file(path: Path) -> None:
    """Raise `UsageError` unless the path names a PNG file."""
    if path.suffix != ".png" or path.is_dir():
        raise UsageError(f"output {path} is not a file named *.png")

"""Training of a classifier: its batches, its loss and its validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgevision.contract.image import fit_frame
from edgevision.contract.spec import FrameInput
from edgevision.models.plan import ClassifierPlan
from edgevision.train.data.class_augmentation import draw_picture
from edgevision.train.data.class_images import ClassDataset
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.tasks.detector import TensorOf


@dataclass(frozen=True, slots=True, eq=False)
class ClassBatch:
    """`frames` uint8 ``[B,S,S,3]`` BGR, `labels` int64 ``[B]``."""

    frames: torch.Tensor
    labels: torch.Tensor


class ClassDrawer:
    """Draws batches from images in memory."""

    def __init__(self, dataset: ClassDataset, plan: ClassifierPlan) -> None:
        self.dataset, self.plan = dataset, plan

    def __call__(self, indices: list[int], generators: list[np.random.Generator], share: float) -> ClassBatch:  # noqa: ARG002  # all of the training is alike
        """One sample for each index, from its own generator."""
        frames = [
            draw_picture(self.dataset.pictures[index], self.plan, rng)
            for index, rng in zip(indices, generators, strict=True)
        ]
        return ClassBatch(torch.from_numpy(np.stack(frames)), torch.from_numpy(self.dataset.labels[indices]))


class ClassifierInTraining(ModuleInTraining[ClassBatch]):
    """A classifier with cross entropy against smoothed targets."""

    def __init__(
        self,
        model: nn.Module,
        plan: ClassifierPlan,
        progress: TrainingProgress,
        seed: int,
        tensor_of: TensorOf,
    ) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.plan, self.tensor_of = plan, tensor_of

    def losses(self, batch: ClassBatch) -> dict[str, torch.Tensor]:
        """The loss, and the share of the batch with a wrong class."""
        logits = self.model(self.tensor_of(batch.frames))
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.plan.smoothing)
        return {"loss": loss, "wrong": (logits.detach().argmax(1) != batch.labels).float().mean()}

    def last_layers(self) -> Iterable[nn.Module]:
        """The last linear layer."""
        return [module for module in self.model.modules() if isinstance(module, nn.Linear)][-1:]

    def moved(self, batch: ClassBatch, device: torch.device) -> ClassBatch:
        """The batch on a device."""
        return ClassBatch(
            batch.frames.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
        )


def balanced_order(
    labels: npt.NDArray[np.int64], classes: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """An epoch's indices: every class equally often, and each image of a class equally often.

    As many as there are images: some images of a frequent class are skipped in this epoch, those of a rare class
    repeat.
    """
    members = [np.flatnonzero(labels == label) for label in range(classes)]
    members = [found for found in members if len(found)]
    share = -(-len(labels) // len(members))
    rows = []
    for found in members:
        rounds = [rng.permutation(found) for _ in range(-(-share // len(found)))]
        rows.append(np.concatenate(rounds)[:share])
    return rng.permutation(np.concatenate(rows))[: len(labels)]


def mixed_order(
    real: npt.NDArray[np.int64], added: int, balanced: int | None, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """An epoch's indices, half of them of real images and half of the `added` ones, which follow these.

    As many as there are images in all. Each image of a half is as frequent as its others; with `balanced` classes, each
    class of the real ones.
    """
    count = len(real) + added

    def rounds(size: int, length: int, once: Callable[[], npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        return np.concatenate([once() for _ in range(-(-size // length))])[:size]

    def of_real() -> npt.NDArray[np.int64]:
        return rng.permutation(len(real)) if balanced is None else balanced_order(real, balanced, rng)

    chosen = rounds(count - count // 2, len(real), of_real)
    others = rounds(count // 2, added, lambda: len(real) + rng.permutation(added))
    return rng.permutation(np.concatenate((chosen, others)))


def measure_classifier(
    model: nn.Module, held: ClassDataset, frames: FrameInput, tensor_of: TensorOf, device: torch.device
) -> dict[str, float]:
    """Top-1 in percent, the mean over classes of their recall, and each class's recall."""
    fitted = np.stack([fit_frame(picture, frames)[0] for picture in held.pictures])
    found = []
    with torch.inference_mode():
        for start in range(0, len(fitted), 256):
            batch = torch.from_numpy(fitted[start : start + 256]).to(device)
            found.append(model(tensor_of(batch)).float().argmax(1).cpu().numpy())
    right = np.concatenate(found) == held.labels
    row = {"top1": 100 * float(right.mean())}
    recalls = {
        f"recall {name}": 100 * float(right[held.labels == label].mean())
        for label, name in enumerate(held.classes)
        if (held.labels == label).any()
    }
    return row | {"mean recall": float(np.mean(list(recalls.values())))} | recalls

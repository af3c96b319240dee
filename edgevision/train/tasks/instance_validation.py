"""COCO's box and mask metrics of a network in training, on labelled images in memory."""

from __future__ import annotations

import numpy as np
import torch

from edgevision.contract.image import letterbox
from edgevision.contract.results import Instances, results_from_outputs
from edgevision.contract.spec import FrameInput, ModelSpec, NmsSpec, Provenance, instances_outputs, utc_now
from edgevision.datasets.boxes import BoxDataset
from edgevision.evaluation.detection import (
    PROTOCOL_FLOOR,
    PROTOCOL_IOU,
    accuracy_from_detections,
    accuracy_from_instances,
)
from edgevision.graph.masks import MASK_STRIDE
from edgevision.models.masks import answers_from_mixture
from edgevision.models.yolov5.masks import mixture_from_outputs
from edgevision.models.yolov5.model import YoloV5
from edgevision.train.data.pictures import Picture
from edgevision.train.tasks.box_validation import CANDIDATES, labelled_images
from edgevision.train.tasks.detector import TensorOf

_MOST = 100


class InstanceValidation:
    """Letterboxes images to `size`, runs the network, and compares boxes and masks as `edgevision eval` does."""

    def __init__(
        self,
        dataset: BoxDataset,
        pictures: tuple[Picture, ...],
        model: YoloV5,
        tensor_of: TensorOf,
        *,
        size: int,
        batch_size: int = 16,
    ) -> None:
        self.pictures, self.model, self.tensor_of = pictures, model, tensor_of
        self.size, self.batch_size = size, batch_size
        self._labelled = labelled_images(dataset, pictures)
        side = size // MASK_STRIDE
        self._spec = ModelSpec(
            "in training",
            "instances",
            FrameInput((size, size)),
            instances_outputs(_MOST, (side, side)),
            dataset.classes,
            Provenance("in training", None, "", utc_now()),
            NmsSpec(CANDIDATES, _MOST, PROTOCOL_IOU, PROTOCOL_FLOOR),
        )

    def __call__(self, device: torch.device) -> dict[str, float]:
        """Measure; the network must be in evaluation mode."""
        found: list[tuple[int, Instances]] = []
        for start in range(0, len(self.pictures), self.batch_size):
            chunk = self.pictures[start : start + self.batch_size]
            for offset, result in enumerate(self._answers(chunk, device)):
                found.append((start + offset, result))
        boxes = accuracy_from_detections(self._labelled, found)
        masks = accuracy_from_instances(self._labelled, found)
        return {"mask AP": masks.ap, "mask AP50": masks.ap50, "AP": boxes.ap, "AP50": boxes.ap50} | {
            f"mask AP50 {one.name}": one.ap50 for one in masks.classes if one.boxes
        }

    def _answers(self, pictures: tuple[Picture, ...], device: torch.device) -> list[Instances]:
        fitted = [letterbox(picture, (self.size, self.size)) for picture in pictures]
        frames = torch.from_numpy(np.stack([frame for frame, _ in fitted])).to(device)
        nms = self._spec.nms
        assert nms is not None
        with torch.inference_mode():
            outputs = [output.float().cpu() for output in self.model(self.tensor_of(frames))]
            mixture = mixture_from_outputs(outputs, self.model.anchors_px.cpu(), self.model.strides, nms)
        answers = answers_from_mixture(mixture, (self.size, self.size))
        results = results_from_outputs(self._spec, answers, [place for _, place in fitted], threshold=0.0)
        return [result for result in results if isinstance(result, Instances)]

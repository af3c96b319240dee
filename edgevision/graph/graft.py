"""Turns a bare network into a graph of the contract: frames in, final results out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.inputs import BatchRange, TensorInput
from edgevision.contract.spec import (
    Fit,
    FrameInput,
    NmsSpec,
    TensorSpec,
    classify_outputs,
    detect_outputs,
    instances_outputs,
    obb_outputs,
    pose_outputs,
    segment_outputs,
    translate_outputs,
)
from edgevision.contract.transform import FrameTransform
from edgevision.errors import GraphError
from edgevision.graph.builder import FLOAT, UINT8, GraphBuilder
from edgevision.graph.contract import check_graph, opset_of, prepare_network
from edgevision.graph.heads.classifier import output_classes
from edgevision.graph.heads.head import DetectionHead, MaskHead, NetworkOutput, PoseHead, take_rows
from edgevision.graph.heads.segmenter import MOST_CLASSES, SegmenterHead
from edgevision.graph.keypoints import final_keypoints, oriented_to_frame
from edgevision.graph.masks import check_prototypes, mask_size_wh, mixed_masks, prototypes_over_frame
from edgevision.graph.nms import Candidates, cluster_nms, without_suppression
from edgevision.graph.preprocess import PixelFormat, graft_preprocess, kept_outside
from edgevision.graph.surgery import BATCH, graph_inputs, inferred_outputs, redirect, set_batch, set_batch_of


def graft_detector(
    network: onnx.ModelProto,
    *,
    head: DetectionHead,
    pixels: PixelFormat,
    frames: FrameInput,
    network_size_wh: tuple[int, int],
    nms: NmsSpec,
    network_fit: Fit = "letterbox",
) -> onnx.ModelProto:
    """Add pre-processing, decoding and NMS to a bare network; the input model is not changed.

    If `frames.fit` is "exact" and frames have another size than the network, the graph scales them by `network_fit`
    ("letterbox" or "stretch"). Boxes are then in the frame's pixels, clipped at its edges; oriented boxes are not
    clipped. A `PoseHead` adds the keypoints. Raises `GraphError` if network, head and sizes do not match.
    """
    if network_fit not in ("letterbox", "stretch"):
        raise GraphError(f"expected 'letterbox' or 'stretch' for a detector; received {network_fit!r}")
    model, outputs, b = _prepared(network, pixels, frames, network_size_wh, network_fit)
    moved = frames.size_wh != network_size_wh
    placement = _placement(frames.size_wh, network_size_wh, network_fit) if moved else None
    found = _found(b, head, outputs, nms, placement)
    values = (found.boxes, found.scores, found.labels)
    if isinstance(head, PoseHead):
        shape = head.keypoint_shape
        points = final_keypoints(b, found, shape, placement)
        return _finished(
            model, b, (*values, points), pose_outputs(nms.max_detections, shape[0]), frames.batch
        )
    if found.oriented and network_fit == "stretch":
        raise GraphError("'stretch' shears oriented boxes; expected network_fit 'letterbox'")
    specs = obb_outputs(nms.max_detections) if found.oriented else detect_outputs(nms.max_detections)
    return _finished(model, b, values, specs, frames.batch)


def graft_instances(
    network: onnx.ModelProto,
    *,
    head: MaskHead,
    pixels: PixelFormat,
    frames: FrameInput,
    network_size_wh: tuple[int, int],
    nms: NmsSpec,
    network_fit: Fit = "letterbox",
) -> onnx.ModelProto:
    """`graft_detector` with masks of the final detections.

    The network's last output must be the prototypes. If the graph scales frames (by `network_fit`), masks cover the
    frame, as described in `mask_size_wh`. Raises `GraphError` if network, head and sizes do not match.
    """
    if network_fit not in ("letterbox", "stretch"):
        raise GraphError(f"expected 'letterbox' or 'stretch' for a detector; received {network_fit!r}")
    model, outputs, b = _prepared(network, pixels, frames, network_size_wh, network_fit)
    check_prototypes(outputs[-1], head.mask_count, network_size_wh)
    moved = frames.size_wh != network_size_wh
    placement = _placement(frames.size_wh, network_size_wh, network_fit) if moved else None
    found = _found(b, head, outputs, nms, placement)
    assert found.carried is not None, "a head with masks carries their coefficients"
    prototypes = outputs[-1].name
    mask_wh = mask_size_wh(frames.size_wh, network_size_wh, network_fit)
    if placement is not None:
        prototypes = prototypes_over_frame(b, prototypes, placement, network_size_wh, mask_wh)
    coefficients = take_rows(b, found.carried.values, found.carried.row)
    masks = mixed_masks(b, prototypes, coefficients, found.boxes, mask_wh, frames.size_wh)
    values = (found.boxes, found.scores, found.labels, masks)
    return _finished(model, b, values, instances_outputs(nms.max_detections, mask_wh), frames.batch)


def _found(
    b: GraphBuilder,
    head: DetectionHead,
    outputs: tuple[NetworkOutput, ...],
    nms: NmsSpec,
    placement: FrameTransform | None,
) -> Candidates:
    """The final detections; with a `placement` boxes are in the frame's pixels, else in the network's."""
    finish = without_suppression if head.suppressed else cluster_nms
    found = finish(b, head.candidates(b, outputs, nms), nms)
    if placement is None:
        return found
    if found.oriented:
        return replace(found, boxes=oriented_to_frame(b, found, placement))
    return replace(found, boxes=_to_frame(b, found.boxes, placement))


def graft_classifier(
    network: onnx.ModelProto,
    *,
    pixels: PixelFormat,
    frames: FrameInput,
    network_size_wh: tuple[int, int],
    network_fit: Fit = "center-crop",
) -> onnx.ModelProto:
    """Add pre-processing to a bare network of one output ``[B,C]``, and Softmax unless it ends in one.

    If `frames.fit` is "exact" and frames have another size than the network, the graph scales them by `network_fit` and
    `frames.crop_fraction`. Raises `GraphError` if network and sizes do not match.
    """
    model, outputs, b = _prepared(network, pixels, frames, network_size_wh, network_fit)
    if len(outputs) != 1:
        raise GraphError(f"a classifier has one output [B, C]; received {', '.join(map(str, outputs))}")
    scores, classes = outputs[0].name, classifier_classes(outputs[0])
    # Networks whose last layer is a convolution return [B, C, 1, 1].
    if len(outputs[0].shape) > 2:
        scores = b.op("Reshape", scores, np.array([0, classes], np.int64))
    if not _ends_in_softmax(model.graph, outputs[0].name):
        scores = b.op("Softmax", scores, axis=1)
    return _finished(model, b, (scores,), classify_outputs(classes), frames.batch)


def graft_segmenter(
    network: onnx.ModelProto,
    *,
    pixels: PixelFormat,
    frames: FrameInput,
    network_size_wh: tuple[int, int],
    network_fit: Fit = "letterbox",
    head: SegmenterHead | None = None,
) -> onnx.ModelProto:
    """Add pre-processing and the choice of each pixel's class to a bare network.

    Without a `head` the network has one output ``[B,C,h,w]`` of its input's size. If `frames.fit` is "exact" and frames
    have another size than the network, the graph scales them, and the mask has the frame's size: each pixel gets the
    class of the network's pixel that contains its centre. Raises `GraphError` if network and sizes do not match.
    """
    if network_fit not in ("letterbox", "stretch"):
        raise GraphError(f"expected 'letterbox' or 'stretch' for a segmenter; received {network_fit!r}")
    model, outputs, b = _prepared(network, pixels, frames, network_size_wh, network_fit)
    if head is None:
        count = segmenter_classes(outputs, network_size_wh)
        head = SegmenterHead("classes", count, network_size_wh)
    if head.class_count > MOST_CLASSES:
        raise GraphError(f"a mask of uint8 holds {MOST_CLASSES} classes; the network has {head.class_count}")
    mask = head.mask(b, outputs, network_size_wh)
    if frames.size_wh != network_size_wh:
        placement = _placement(frames.size_wh, network_size_wh, network_fit)
        columns, rows = placement.nearest_input(network_size_wh)
        mask = b.op("Gather", b.op("Gather", mask, rows, axis=1), columns, axis=2)
    return _finished(model, b, (mask,), segment_outputs(frames.size_wh), frames.batch)


def graft_translator(
    network: onnx.ModelProto,
    *,
    pixels: PixelFormat,
    image_pixels: PixelFormat,
    frames: FrameInput,
    network_size_wh: tuple[int, int],
    network_fit: Fit = "letterbox",
) -> onnx.ModelProto:
    """Add pre-processing to a bare image-to-image network, and the conversion of its output to a BGR image.

    `image_pixels` is the format of the network's one output ``[B,3,h,w]``. Values are limited to 0..255 and rounded.
    Raises `GraphError` for another output, or for frames of another size than the network's.
    """
    if frames.size_wh != network_size_wh:
        wanted, received = ("x".join(map(str, size)) for size in (frames.size_wh, network_size_wh))
        raise GraphError(
            f"an image-to-image network takes frames of its own size, {received}; received {wanted}: omit --frame, and"
            f" export it with --size {wanted}"
        )
    model, outputs, b = _prepared(network, pixels, frames, network_size_wh, network_fit)
    image_wh = translator_image(outputs)
    image = _bgr_levels(b, outputs[0], image_pixels)
    return _finished(model, b, (image,), translate_outputs(image_wh), frames.batch)


def graft_generator(
    network: onnx.ModelProto,
    *,
    image_pixels: PixelFormat,
    inputs: TensorInput,
    weights_as_inputs: bool = False,
) -> onnx.ModelProto:
    """Add the conversion to a BGR image to a bare network that makes images, and state its batch.

    The network has the inputs of `inputs`, in order, and one output ``[B,3,h,w]`` or ``[B,1,h,w]`` (grey) in the format
    `image_pixels`; of a grey image the first value of mean and std counts. Values are limited to 0..255 and rounded.
    With `weights_as_inputs` its further inputs are weights. Raises `GraphError` for other inputs or outputs.
    """
    model = _with_tensors(network, inputs, weights_as_inputs=weights_as_inputs)
    outputs = inferred_outputs(model)
    image_wh = generator_image(outputs)
    b = GraphBuilder(model.graph, "post/", opset_of(model))
    image = _bgr_levels(b, _in_float32(b, outputs)[0], image_pixels)
    image = kept_outside(b, image, inputs)
    return _finished(model, b, (image,), translate_outputs(image_wh), inputs.batch)


def graft_part(
    network: onnx.ModelProto, *, inputs: TensorInput, outputs: tuple[str, ...]
) -> tuple[onnx.ModelProto, tuple[TensorSpec, ...]]:
    """Name the outputs of a part of a pipeline, whose inputs after those of `inputs` are weights; returns them too."""
    model = _with_tensors(network, inputs, weights_as_inputs=True)
    found = inferred_outputs(model)
    specs = tuple(
        TensorSpec(name, "float32", (-1, *(length or 0 for length in one.shape[1:])))
        for name, one in zip(outputs, found, strict=True)
    )
    b = GraphBuilder(model.graph, "post/", opset_of(model))
    return _finished(model, b, tuple(one.name for one in found), specs, inputs.batch), specs


def _with_tensors(
    network: onnx.ModelProto, inputs: TensorInput, *, weights_as_inputs: bool
) -> onnx.ModelProto:
    """A copy of a network that takes tensors, with its batch."""
    model = prepare_network(network)
    given = graph_inputs(model.graph)[: len(inputs.tensors) if weights_as_inputs else None]
    names = [value.name for value in given]
    wanted = [tensor.name for tensor in inputs.tensors]
    if names != wanted:
        raise GraphError(f"the network has the inputs {', '.join(names)}; expected {', '.join(wanted)}")
    for value in given:
        set_batch_of(value, inputs.batch)
    before = GraphBuilder(model.graph, "pre/", opset_of(model))
    for tensor in inputs.tensors:
        if tensor.dtype == "float32":
            # Values of nodes can be probed and converted to other types; an input of the contract cannot.
            copy = before.op("Identity", tensor.name)
            redirect(model.graph, tensor.name, copy)
    before.flush(first=True)
    return model


def _bgr_levels(b: GraphBuilder, output: NetworkOutput, pixels: PixelFormat) -> str:
    """Images ``[B,h,w,3]`` BGR, whole numbers 0..255 in float32, from the network's output in its pixel format."""
    image, grey, step = output.name, output.shape[1] == 1, -1 if pixels.order == "rgb" else 1
    if step < 0 and not grey:
        image = b.op("Gather", image, np.array([2, 1, 0], np.int64), axis=1)
    std, mean = (np.array(v[::step], np.float64) / pixels.scale for v in (pixels.std, pixels.mean))
    if grey:
        std, mean = (np.array(v[:1], np.float64) / pixels.scale for v in (pixels.std, pixels.mean))
    image = b.op("Mul", image, std.astype(np.float32).reshape(1, -1, 1, 1))
    if mean.any():
        image = b.op("Add", image, mean.astype(np.float32).reshape(1, -1, 1, 1))
    image = b.op("Min", b.op("Max", image, np.float32(0)), np.float32(255))
    image = b.op("Transpose", b.op("Round", image), perm=[0, 2, 3, 1])
    return b.op("Concat", image, image, image, axis=3) if grey else image


def generator_image(outputs: tuple[NetworkOutput, ...]) -> tuple[int, int]:
    """Width and height of the one output ``[B,3,h,w]`` or ``[B,1,h,w]``; raises `GraphError` for others."""
    if len(outputs) == 1 and len(outputs[0].shape) == 4 and outputs[0].shape[1] in (1, 3):
        height, width = outputs[0].shape[2:]
        if height is not None and width is not None:
            return width, height
    raise GraphError(
        "a network that makes images has one output, float32 [B, 3, h, w] or [B, 1, h, w]; received"
        f" {', '.join(map(str, outputs)) or 'none'}"
    )


def translator_image(outputs: tuple[NetworkOutput, ...]) -> tuple[int, int]:
    """Width and height of the one output ``[B,3,h,w]``; raises `GraphError` for others."""
    if len(outputs) == 1 and len(outputs[0].shape) == 4 and outputs[0].shape[1] == 3:
        height, width = outputs[0].shape[2:]
        if height is not None and width is not None:
            return width, height
    raise GraphError(
        f"an image-to-image network has one output, float32 [B, 3, h, w]; received"
        f" {', '.join(map(str, outputs)) or 'none'}"
    )


def segmenter_classes(outputs: tuple[NetworkOutput, ...], network_size_wh: tuple[int, int]) -> int:
    """Number of classes of the one output ``[B,C,h,w]``; raises `GraphError` for others."""
    width, height = network_size_wh
    if len(outputs) == 1 and len(outputs[0].shape) == 4 and outputs[0].shape[2:] == (height, width):
        classes = outputs[0].shape[1]
        if classes is not None:
            return classes
    raise GraphError(
        f"a segmenter has one output, float32 [B, C, {height}, {width}]; received {', '.join(map(str, outputs))}"
    )


def classifier_classes(output: NetworkOutput) -> int:
    """Number of classes of an output ``[B,C]`` or ``[B,C,1,1]``; raises `GraphError` for another shape."""
    count = output_classes(output)
    if count is None:
        raise GraphError(f"a classifier's output is float32 [B, C]; received {output}")
    return count


def _prepared(
    network: onnx.ModelProto,
    pixels: PixelFormat,
    frames: FrameInput,
    network_size_wh: tuple[int, int],
    network_fit: Fit,
) -> tuple[onnx.ModelProto, tuple[NetworkOutput, ...], GraphBuilder]:
    """A copy with pre-processing, its raw outputs as float32, and a builder for post-processing."""
    model = prepare_network(network)
    set_batch(model.graph, frames.batch)
    outputs = inferred_outputs(model)
    graft_preprocess(
        model, pixels=pixels, frames=frames, network_size_wh=network_size_wh, network_fit=network_fit
    )
    b = GraphBuilder(model.graph, "post/", opset_of(model))
    return model, _in_float32(b, outputs), b


def _in_float32(b: GraphBuilder, outputs: tuple[NetworkOutput, ...]) -> tuple[NetworkOutput, ...]:
    return tuple(
        NetworkOutput(b.op("Cast", output.name, to=FLOAT), "float32", output.shape)
        if output.dtype == "float16"
        else output
        for output in outputs
    )


def _placement(frame_wh: tuple[int, int], network_wh: tuple[int, int], fit: Fit) -> FrameTransform:
    if fit == "letterbox":
        return LetterboxGeometry.of(frame_wh, network_wh).placement
    return FrameTransform(frame_wh, (network_wh[0] / frame_wh[0], network_wh[1] / frame_wh[1]), (0.0, 0.0))


def _to_frame(b: GraphBuilder, boxes: str, placement: FrameTransform) -> str:
    """Boxes from the network's pixels to the camera frame's, clipped at its edges; rows of zeros stay zeros."""
    offset, scale, limit = (
        np.array(pair * 2, np.float32)
        for pair in (placement.offset_xy, placement.scale_xy, placement.frame_wh)
    )
    boxes = b.op("Div", b.op("Sub", boxes, offset), scale)
    return b.op("Min", b.op("Max", boxes, np.float32(0)), limit)


def _ends_in_softmax(graph: onnx.GraphProto, output: str) -> bool:
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in ("Identity", "Reshape", "Flatten", "Squeeze", "Cast"):
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def _finished(
    model: onnx.ModelProto,
    b: GraphBuilder,
    values: tuple[str, ...],
    specs: tuple[TensorSpec, ...],
    batch: BatchRange,
) -> onnx.ModelProto:
    """Name the outputs; values for uint8 must be whole numbers in float32.

    TensorRT supports uint8 only at outputs, and converts only floats to it: no node may read the result of the Cast.
    """
    graph = model.graph
    del graph.output[:]
    for value, spec in zip(values, specs, strict=True):
        elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        if elem_type == UINT8:
            b.cast_to(value, spec.name, UINT8)
        else:
            b.alias(value, spec.name)
        rows = batch.max if batch.static else BATCH
        graph.output.append(helper.make_tensor_value_info(spec.name, elem_type, [rows, *spec.shape[1:]]))
    b.flush()
    check_graph(model)
    return model

"""Outputs of top-down pose networks, which are not adopted: they take the crop of one person, not a frame.

Facts: SimpleBaseline (arXiv 1804.06208), HRNet (arXiv 1902.09212) and ViTPose (arXiv 2204.12484) return a heatmap of a
quarter of the input's sides for each keypoint, from crops of 192x256 or 288x384; MPII has 16 keypoints, from 256x256.
SimCC (arXiv 2107.03332) and RTMPose (arXiv 2303.07399) return a vector along x and one along y for each keypoint, whose
lengths are the input's sides times one factor.
"""

from __future__ import annotations

from edgevision.graph.heads.head import NetworkFacts

_STRIDE = 4
_COUNTS = frozenset((14, 15, 16, 17, 19, 21, 23, 26, 42, 68, 98, 106, 133))
"""Numbers of keypoints of public data sets: COCO 17, its whole bodies 133, MPII 16, hands 21, faces 68, 98, 106."""
_SQUARE_COUNTS = frozenset((16, 17))
_SQUARE_SIDES = (256, 384)

WHY = (
    "of a top-down pose network, which takes the crop of one person that another network has found; the task pose runs"
    " one network on the whole frame: use a network that finds persons and keypoints together, such as YOLO11-pose"
)


def reason_against(facts: NetworkFacts) -> str | None:
    """What the outputs are, and why they are not adopted; None if they are not those of a top-down pose network."""
    width, height = facts.size_wh
    first = facts.outputs[0].shape if facts.outputs else ()
    if len(facts.outputs) == 1 and len(first) == 4 and first[2:] == (height // _STRIDE, width // _STRIDE):
        named = "heatmap" in facts.outputs[0].name.lower()
        portrait = 4 * width == 3 * height and first[1] in _COUNTS
        square = width == height and width in _SQUARE_SIDES and first[1] in _SQUARE_COUNTS
        if named or (facts.class_count is None and (portrait or square)):
            return (
                f"{first[1]} maps of a quarter of the {width}x{height} input are heatmaps of keypoints, {WHY}"
            )
    shapes = [output.shape[1:] for output in facts.outputs]
    if len(shapes) == 2 and all(len(shape) == 2 for shape in shapes) and shapes[0][0] == shapes[1][0]:
        along_x, along_y = (shape[1] or 0 for shape in shapes)
        # A factor of 2 is usual; vectors of the same length would be embeddings or classes.
        if width != height and along_x * height == along_y * width and along_x % width == 0 and along_x > 0:
            return f"{shapes[0][0]} pairs of vectors along x and y are keypoints in the form of SimCC, {WHY}"
    return None

"""The 80 classes of COCO, in the order in which detectors number them."""

COCO_CLASSES = tuple(
    """
person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign|parking meter|bench
|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag|tie|suitcase|frisbee|skis|snowboard
|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|knife|spoon
|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|potted plant|bed|dining table
|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink|refrigerator|book|clock|vase|scissors
|teddy bear|hair drier|toothbrush
""".replace("\n", "").split("|")
)

_UNUSED_IDS = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_IDS = [number for number in range(91) if number not in _UNUSED_IDS]
COCO_BY_ID = tuple(
    COCO_CLASSES[_IDS.index(number)] if number in _IDS else f"unused {number}" for number in range(91)
)
"""The classes by their ids in COCO's annotation files: 1 to 90, ten of them unused. DETR's successors use these."""

"""Labelled images as people have them: COCO, YOLO text with data.yaml, Pascal VOC; checked once, for every command."""

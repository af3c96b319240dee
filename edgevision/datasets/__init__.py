"""Labelled images as people have them: COCO, YOLO text with data.yaml, Pascal VOC; read and checked once.

Imports `sources`, `contract` and `storage`.
"""

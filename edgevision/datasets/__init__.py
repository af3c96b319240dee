"""Readers of labelled images: COCO, YOLO text with data.yaml, Pascal VOC.

May import: sources.
"""

"""Labelled images as people have them: COCO, YOLO text with data.yaml, Pascal VOC; read and checked once.

May import: sources.
"""

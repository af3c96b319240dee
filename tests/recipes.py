"""Recipes that the slow tests build in every form; `tests/builder/test_networks.py` builds the other families."""

from __future__ import annotations

RECIPES = ("cnn", "resnet", "ultralytics", "unet", "yolov5", "yolov5-seg")

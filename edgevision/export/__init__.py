"""From checkpoint, or somebody's ONNX file, to a verified bundle, on the workstation.

Imports `models`, `graph`, `quantize`, `verification` and below.
"""

"""From checkpoint, or somebody's ONNX file, to a verified bundle, on the workstation.

May import: storage, contract, bundle, verification, engines, sources, graph, models, quantize.
"""

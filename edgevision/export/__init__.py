"""From a checkpoint or an ONNX file to a verified bundle, on the workstation.

May import: storage, contract, bundle, verification, engines, sources, graph, checkpoint, models, quantize.
"""

"""ONNX graphs: pre- and post-processing, heads of networks, and what each TensorRT version supports.

May import: storage, contract, engines.
"""

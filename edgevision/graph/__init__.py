"""ONNX: the contract's pre- and post-processing, heads of networks, and what each version of TensorRT reads.

May import: storage, contract, engines.
"""

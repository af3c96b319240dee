"""ONNX subgraphs of the contract: pixels in, answers out. May import onnx, never torch."""

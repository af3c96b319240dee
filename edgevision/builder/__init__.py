"""Builds TensorRT engines from a bundle's graphs and verifies them.

May import: storage, device, contract, bundle, verification, engines, benchmark, graph.
"""

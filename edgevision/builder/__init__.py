"""TensorRT engines from a bundle's graphs, proved before they are kept.

May import: storage, device, contract, bundle, verification, engines, benchmark, graph.
"""

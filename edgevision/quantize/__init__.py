"""FP16 and INT8 under a budget of accuracy: calibration, placement, search, and what was measured.

May import: storage, device, contract, bundle, verification, engines, sources, datasets, benchmark, evaluation, graph.
"""

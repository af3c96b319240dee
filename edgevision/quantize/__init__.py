"""FP16 and INT8 within an accuracy budget: calibration, Q/DQ placement, search.

May import: storage, device, contract, bundle, verification, engines, sources, datasets, benchmark, evaluation, graph.
"""

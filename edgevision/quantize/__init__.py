"""FP16 and INT8 within an accuracy limit: calibration, Q/DQ placement, search.

May import: storage, device, contract, bundle, verification, engines, sources, datasets, benchmark, evaluation, graph.
"""

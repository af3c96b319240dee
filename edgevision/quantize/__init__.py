"""FP16 and INT8 under a budget of accuracy: calibration, placement, search, and what was measured.

Imports `graph`, `evaluation`, `benchmark`, `verification` and below.
"""

"""Comparison of a graph's answers with its source model's: tolerances and golden frames.

May import: storage, device, contract, bundle.
"""

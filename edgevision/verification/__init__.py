"""Whether answers are the source model's: tolerances, comparison, golden frames.

May import: storage, device, contract, bundle.
"""

"""Benchmarks on a fleet of devices that Ray connects.

May import: storage, device, contract, bundle, verification, engines, benchmark, builder.
"""

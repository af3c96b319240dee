"""Timing, paired comparison, and benchmark records.

May import: storage, device, contract, bundle, verification, engines, sources, sinks, pipeline.
"""

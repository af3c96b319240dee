"""Timing, paired comparison, and benchmark records.

May import: storage, device, contract, sources, sinks, pipeline.
"""

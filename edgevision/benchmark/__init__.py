"""Timing, comparison of builds, scenarios, and benchmark records.

May import: storage, settings, device, contract, bundle, verification, engines, sources, sinks, pipeline.
"""

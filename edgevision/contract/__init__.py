"""Inputs and outputs of every graph: spec, results, pre-processing, and the base class of sessions.

May import: storage, settings, device.
"""

"""Runs frames through an engine into sinks: batching, order, scheduling of cameras.

May import: settings, device, contract, sources, analytics, drawing, sinks.
"""

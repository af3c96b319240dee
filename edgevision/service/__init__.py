"""Runs many cameras on one engine for months: camera manager, watchdog, live page, deployment file.

May import: settings, device, contract, bundle, engines, sources, analytics, drawing, sinks, pipeline, builder.
"""

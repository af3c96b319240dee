"""Cameras for months: camera_manager, watchdog, page, deployment file.

May import: settings, device, contract, bundle, engines, sources, analytics, drawing, sinks, pipeline, builder.
"""

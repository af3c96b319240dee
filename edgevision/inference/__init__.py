"""Models called with images, files and cameras, and predictions that draw, print and save themselves.

May import: storage, contract, engines, sources, analytics, drawing, sinks, pipeline, explain.
"""

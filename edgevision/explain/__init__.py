"""Heat maps of the image regions that a result depends on.

May import: contract, sources, drawing.
"""

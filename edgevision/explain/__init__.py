"""Heat maps: which part of a frame an answer rests on.

May import: contract, sources, drawing.
"""

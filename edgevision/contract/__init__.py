"""What a graph takes and answers: spec, results, boxes, and the base of every engine.

May import: storage.
"""

"""The bundle folder: graphs, golden frames, records, and the choice of a graph.

May import: storage, contract.
"""

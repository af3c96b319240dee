"""The folder that travels: graphs, golden frames, records; and which graph is to run.

May import: storage, contract.
"""

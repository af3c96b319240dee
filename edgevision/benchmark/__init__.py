"""How fast it is: timing, paired runs, records.

May import: storage, device, contract, sources, sinks, pipeline.
"""

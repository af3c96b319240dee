"""Training: data in the formats people have, losses, schedules, and run folders that survive a kill.

May import: storage, contract, sources, datasets, evaluation, graph, checkpoint, models.
"""

"""Training: data sets, losses, schedules, and resumable run folders.

May import: storage, device, contract, sources, datasets, evaluation, graph, checkpoint, models.
"""

"""PyTorch architectures with the parameter names of public checkpoints, recipes, and training plans.

May import: contract, datasets, graph, checkpoint.
"""

"""Architectures in PyTorch with the parameter names of public checkpoints, recipes, and how a model is trained.

May import: contract, graph, checkpoint.
"""

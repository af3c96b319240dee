"""Trained PyTorch checkpoints to verified engines on live cameras."""

__version__ = "0.1.0"

"""PyTorch modules as export sources: their outputs, heads and reference results."""

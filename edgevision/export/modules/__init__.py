"""PyTorch modules as sources of graphs: their outputs, their heads, and their answers."""

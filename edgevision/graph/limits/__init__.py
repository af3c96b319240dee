"""What each version of TensorRT is documented to read, and what of a graph it would not."""

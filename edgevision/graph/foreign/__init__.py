"""Facts of third-party ONNX files, and the recognition of their heads."""

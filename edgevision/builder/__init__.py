"""TensorRT engines from a bundle's graphs, proved before they are kept. Imports `graph`, `engines` and below."""

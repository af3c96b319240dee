"""TensorRT and TensorRT-RTX: versions, manifests, the shelf of engines, and what runs them."""

"""TensorRT and TensorRT-RTX: versions, manifests, the engine store and the runtime."""

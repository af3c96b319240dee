"""Networks that make an image from an image, besides super-resolution."""

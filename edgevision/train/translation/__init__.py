"""Training of networks that make an image from an image: unpaired translation and style transfer."""

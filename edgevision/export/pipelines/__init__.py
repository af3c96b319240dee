"""Export of text-to-image pipelines in folders of diffusers."""

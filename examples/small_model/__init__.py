"""A trainer of small text-to-image models: a UNet or an MMDiT, on the drawn world or any images with captions."""

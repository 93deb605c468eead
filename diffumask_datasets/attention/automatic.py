"""What is read of a model that nothing was tuned to; search starts from it. Imports nothing."""

__all__ = ["COMPETITION", "LAST_TIMESTEP"]

LAST_TIMESTEP = 550
"""Read from here to 0: the second half of denoising."""

COMPETITION = 16.0
"""How strongly classes compete for a pixel."""

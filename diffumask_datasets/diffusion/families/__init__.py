"""One model family per file: declarations, see ``diffusion/family.py``."""

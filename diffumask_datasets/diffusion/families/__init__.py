"""One model family per file, each a page of declarations on ``backbones/family.py``."""

"""Reads attention: hooks, recorders, token alignment and fusion. Tensors alone, no diffusers."""

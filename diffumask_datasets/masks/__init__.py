"""Heat maps to masks: binarization, refinement, components, run-length encoding. Knows no model and no prompt."""

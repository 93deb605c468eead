"""From a recipe to labelled samples: generate, label, remask and reproduce."""

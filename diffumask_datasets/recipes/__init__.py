"""What is asked for: recipes, their settings, vocabularies, captions and splits, and the readers of texts."""

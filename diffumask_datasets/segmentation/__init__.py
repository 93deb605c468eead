"""Training and evaluating segmenters on what we generate; noise learning trains through it too."""

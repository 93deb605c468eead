"""What the model is asked to generate, and where the class terms stand in it."""

"""What the model is asked to paint, and where the class terms stand in it."""

"""Model families on one small protocol. diffusers is imported here alone, and only when a model is loaded."""

"""Examples; ``small_model`` is a package: ``python -m examples.small_model.train``, from the root of the repository."""

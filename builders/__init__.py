"""The Hugging Face builders: thin; loaded by name through :mod:`diffumask_datasets.builders.registration`."""

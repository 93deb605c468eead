"""``python -m diffumask_datasets`` is the command ``diffumask``."""

from diffumask_datasets.cli import main

main()

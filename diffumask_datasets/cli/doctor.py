"""The command doctor."""

from __future__ import annotations

import typer

from diffumask_datasets.cli.options import EXIT_BAD_INPUT

__all__ = ["doctor"]


def doctor() -> None:
    """Report what is installed and how to fix what is not, and generate one image; exits with 1 where something is wrong."""
    from diffumask_datasets.cli.installation import examine

    findings = examine()
    for finding in findings:
        sign = "ok" if not finding.remedy else ("FAIL" if finding.required else "-")
        remedy = f"  → {finding.remedy}" if finding.remedy else ""
        typer.echo(f"{sign:5}{finding.name:17}{finding.state}{remedy}")
    if not all(finding.healthy for finding in findings):
        raise typer.Exit(EXIT_BAD_INPUT)

"""Writes the table of docs/models.md from what the tests know and find. Run by ``make bench-backbones``."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.tiny_models.cases import CASES, Case
from tests.helpers.tiny_models.checks import keeps_to_itself, lights_up, reference_errors

MODELS = Path(__file__).parents[3] / "docs" / "models.md"
START, END = "<!-- table: written by tests/helpers/tiny_models/table.py -->", "<!-- end of table -->"
HEAD = "| model | class | capture | error of maps, self-attention | planted test | sizes |\n|---|---|---|---|---|---|"


def write_table() -> int:
    """Checks every family, writes the table, and gives the number of green ones."""
    rows = [(case, reference_errors(case), _is_right(case)) for case in CASES]
    lines = [_line(case, errors, planted) for case, errors, planted in rows]
    before, _, rest = MODELS.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    MODELS.write_text(f"{before}{START}\n{HEAD}\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")
    return sum(max(error or 0.0 for error in errors) <= 1e-5 and planted for _, errors, planted in rows)


def static_cells(case: Case) -> tuple[str, str, str]:
    """The cells that no run changes."""
    return case.name, f"`{case.family.pipelines[0]}`", case.capture


def _is_right(case: Case) -> bool:
    return lights_up(case) and (not case.affinity or keeps_to_itself(case))


def _line(case: Case, errors: tuple[float, float | None], planted: bool) -> str:
    # One digit: the last bits differ between machines.
    cells = (
        *static_cells(case),
        ", ".join("none" if error is None else f"{error:.0e}" for error in errors),
        "lights up" if planted else "FAILS",
        f"multiples of {case.multiple} px",
    )
    return f"| {' | '.join(cells)} |"

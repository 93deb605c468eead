"""What holds for the tests themselves: each one can fail, and none can hang."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
Calls = dict[str, list[set[str]]]
"""What each function calls, whichever of that name is meant; the statement ``assert`` is a call of that name."""


def calls_in(sources: Collection[str]) -> Calls:
    calls: Calls = defaultdict(list)
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                calls[node.name].append({name for inner in ast.walk(node) if (name := called(inner))})
    return calls


def called(node: ast.AST) -> str | None:
    if isinstance(node, ast.Assert):
        return "assert"
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)


def asserts(names: set[str], helpers: set[str]) -> bool:
    return any(name in ("assert", "raises", "fail") or name.startswith("assert_") or name in helpers for name in names)


def asserting(calls: Calls) -> set[str]:
    """The functions that assert something, by themselves or through others."""
    known: set[str] = set()
    while True:
        found = {name for name, bodies in calls.items() if all(asserts(names, known) for names in bodies)}
        if found == known:
            return known
        known = found


def asserting_nothing(sources: Collection[str]) -> list[str]:
    calls = calls_in(sources)
    tests = {name for name in calls if name.startswith("test_")}
    return sorted(tests - asserting(calls))


def test_every_test_asserts_something() -> None:
    assert asserting_nothing([path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")]) == []


def test_tests_that_assert_nothing_are_seen() -> None:
    helper = "def check(x):\n    assert x\ndef indirect(x):\n    check(x)\ndef idle(x):\n    print(x)\n"
    good = "def test_a():\n    indirect(1)\ndef test_b():\n    with pytest.raises(OSError):\n        idle(1)\n"
    bad = "def test_c():\n    idle(1)\ndef test_d():\n    raises = 1\n"
    assert asserting_nothing([helper, good, bad]) == ["test_c", "test_d"]


def test_a_test_that_hangs_fails(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    assert float(request.config.getini("timeout")) == 300
    (tmp_path / "test_hanging.py").write_text("import time\ndef test_it():\n    time.sleep(60)\n")
    command = [sys.executable, "-m", "pytest", "-q", "-o", "timeout=0.3", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=50)
    assert (done.returncode, "Timeout" in done.stdout) == (1, True)

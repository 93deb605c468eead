"""Every block of the documents is code that exists: nothing runs here, but names, options and arguments are held."""

from typing import Any

import pytest
import tomllib
import yaml

from tests.docs import python_blocks, shell_blocks
from tests.docs.blocks import blocks, blocks_in, running_blocks


def test_python_could_run() -> None:
    pages: dict[str, dict[str, Any]] = {}
    wrong = []
    found = blocks("python")
    assert len(found) >= 7
    for block in found:
        names = pages.setdefault(block.page, {"__name__": None})
        wrong += [f"{block}: {problem}" for problem in python_blocks.problems_of(block.code, names)]
    assert wrong == []


def test_commands_could_run() -> None:
    found = blocks("bash", "sh", "shell", "console")
    assert len(found) >= 30
    commands = [(block, words) for block in found for words in shell_blocks.commands(block.code)]
    assert sum(words[0] == "diffumask" for _, words in commands) >= 20
    assert [f"{block}: {problem}" for block, words in commands for problem in shell_blocks.problems_of(words)] == []


def test_yaml_and_toml_can_be_parsed() -> None:
    found = blocks("yaml", "toml")
    assert len(found) >= 3
    for block in found:
        assert yaml.safe_load(block.code) if block.language == "yaml" else tomllib.loads(block.code)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import diffumask_datasets\ndiffumask_datasets.generate('a', clases=['car'])", "generate takes no clases"),
        ("import diffumask_datasets\ndiffumask_datasets.draw('a')", "has no attribute 'draw'"),
        ("from diffumask_datasets.errors import DrawError", "diffumask_datasets.errors has no DrawError"),
        ("from datasets import load_dataset\nload_dataset('diffumask', sede=1)", "load_dataset takes no sede"),
        (
            "from diffumask_datasets import export\nexport('a', 'b', format='voc', parts=['stuff'])",
            "export takes no parts",
        ),
        ("print(ds)", "ds is not defined"),
    ],
)
def test_wrong_python_is_seen(code: str, problem: str) -> None:
    (found,) = python_blocks.problems_of(code, {})
    assert found.endswith(problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("diffumask draw car", "no command draw"),
        ("diffumask generate car --output out --batchsize 3", "--batchsize"),
        ("diffumask generate car --output out --set sede=1", "no field sede"),
        ("diffumask train out/ds --output out/m --set stepps=1", "no field stepps"),
        ("diffumask generate car", "output"),
        ("cd x && make nothing", "no target nothing"),
        ("pip install 'diffumask-datasets[fiftytwo]'", "no extra fiftytwo"),
        ("python -m examples.small_model.nothing --data x", "no module examples.small_model.nothing"),
        ("DEVICE=1 python examples/nothing.py", "no file examples/nothing.py"),
    ],
)
def test_wrong_commands_are_seen(line: str, problem: str) -> None:
    (found,) = [problem for words in shell_blocks.commands(line) for problem in shell_blocks.problems_of(words)]
    assert problem in found


def test_blocks_are_found_with_their_place() -> None:
    text = "# A\n\n- x\n\n  ```bash\n  make a\n    b\n  ```\n\n```python\nx = 1\n```\n"
    first, second = blocks_in("a.md", text)
    assert (str(first), first.language, first.code) == ("a.md:5", "bash", "make a\n  b\n")
    assert (str(second), second.language, second.code) == ("a.md:10", "python", "x = 1\n")


def test_what_runs_in_the_benchmark_starts_with_the_dataset_that_others_run_on() -> None:
    first = running_blocks()[0]
    assert (first.page, 'generate("out/ds"' in first.code) == ("README.md", True)
    assert all("out/ds" in block.code for block in running_blocks("runs on out/ds"))
    assert len(running_blocks("runs on out/ds")) >= 3


def test_the_start_page_runs_in_the_benchmark() -> None:
    first, second = (block for block in running_blocks() if block.page == "docs/start.md")
    assert first.code.count("\n") == 6  # commands
    assert second.code.startswith("import diffumask_datasets\n")

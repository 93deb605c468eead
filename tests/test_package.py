"""What holds for the package as a whole: layout, import directions, light import, bounds."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import diffumask_datasets
from tests.helpers.docstrings import left_out

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "diffumask_datasets"

_TABLE = """
errors:
sample: errors
models: errors
recipes: errors sample models
prompts: errors models recipes
attention: errors prompts
masks: errors sample models recipes
dataset: errors sample recipes masks
augmentation: errors sample recipes masks dataset
toybox: errors sample models recipes masks dataset
diffusion: errors models recipes prompts attention
segmentation: errors sample models recipes dataset augmentation toybox
generation: errors sample models recipes prompts attention masks dataset augmentation toybox diffusion
curation: errors sample recipes masks dataset segmentation generation
builders: errors recipes dataset generation
exporters: errors sample recipes masks dataset
review: errors sample recipes masks dataset diffusion generation
hub: errors sample recipes dataset
cli: errors recipes prompts masks dataset augmentation diffusion segmentation curation generation exporters review hub
__init__: sample recipes dataset generation builders exporters review hub
__main__: cli
"""

ROOMS = {room: lower.split() for room, _, lower in (line.partition(":") for line in _TABLE.strip().splitlines())}
"""Each room, lowest first, and those below it that it imports from."""

MOST_ARROWS = 101
"""Pairs of rooms of which one may import from the other. A new one is a decision, not a convenience."""

HEAVY = {
    "torch": {"attention", "cli", "diffusion", "generation", "masks", "models", "prompts", "segmentation", "toybox"},
    "diffusers": {"diffusion"},
    "transformers": {"attention", "diffusion", "masks", "models", "prompts", "segmentation"},
    "matplotlib": {"segmentation"},
    "pydensecrf": {"masks", "cli"},
    "fiftyone": {"review"},
    "ray": {"generation"},
}
"""Who may import what."""


def modules() -> list[Path]:
    # rglob does not follow the two links by itself.
    roots = [PACKAGE, PACKAGE / "builders", PACKAGE / "exporters"]
    return sorted({path for root in roots for path in root.rglob("*.py") if "__pycache__" not in path.parts})


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


def needed(path: Path, names: set[str]) -> set[str]:
    """Which of the modules ``names`` a module imports, be it in a function or for types alone."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    asked = [(node.module, f"{node.module}.{alias.name}") for node in nodes for alias in node.names]
    return {inner if inner in names else str(outer) for outer, inner in asked} & names


def arrows() -> set[tuple[str, str]]:
    """(room, room that it imports from), be it in a function or for types alone."""
    prefix = "diffumask_datasets."
    return {
        (room(path), name.removeprefix(prefix).split(".")[0])
        for path in modules()
        for name in imported(path)
        if name.startswith(prefix) and name.removeprefix(prefix).split(".")[0] != room(path)
    }


def test_the_root_has_rooms_and_no_loose_modules() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed")}
    loose = {name for name in entries if name.endswith(".py")}
    assert loose == {"__init__.py", "__main__.py", "errors.py", "sample.py"}
    assert {name.removesuffix(".py") for name in entries} == set(ROOMS)


def test_rooms_import_from_the_rooms_below_that_they_name(capsys: pytest.CaptureFixture[str]) -> None:
    found = arrows()
    with capsys.disabled():
        print(f"\n{len(found)} arrows between {len(ROOMS)} rooms")
    assert found == {(upper, lower) for upper, lowers in ROOMS.items() for lower in lowers}
    order = list(ROOMS)
    assert [arrow for arrow in found if order.index(arrow[1]) >= order.index(arrow[0])] == []
    assert len(found) <= MOST_ARROWS


def test_no_modules_import_each_other() -> None:
    paths = {
        ".".join(("diffumask_datasets", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in modules()
    }
    order = TopologicalSorter({name: needed(path, set(paths)) for name, path in paths.items()}).static_order()
    assert set(order) == set(paths)  # CycleError, with the cycle, where there is one


@pytest.mark.parametrize("package", sorted(HEAVY))
def test_heavy_packages_stay_in_their_rooms(package: str) -> None:
    users = {room(path) for path in modules() if any(name.split(".")[0] == package for name in imported(path))}
    assert users <= HEAVY[package]


def public_functions(path: Path) -> Iterator[ast.FunctionDef]:
    """The functions that a module names in ``__all__``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    names = {name for value in values if isinstance(value, ast.List) for name in ast.literal_eval(value)}
    yield from (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names)


def undescribed(function: ast.FunctionDef) -> set[str]:
    """What the docstring of a function with more than two parameters leaves out."""
    given = function.args
    rest = [one for one in (given.vararg, given.kwarg) if one]
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, *rest)]
    gives = function.returns is not None and ast.unparse(function.returns) != "None"
    return left_out(ast.get_docstring(function) or "", names, gives=gives) if len(names) > 2 else set()


def test_public_functions_describe_their_parameters() -> None:
    # Options of the program have help texts.
    checked = [path for path in modules() if room(path) != "cli" or path.name == "options.py"]
    found = {f"{path.stem}.{one.name}": undescribed(one) for path in checked for one in public_functions(path)}
    assert len(found) > 300
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_what_a_docstring_leaves_out_is_seen() -> None:
    code = '''
def function(one: int, two: int, *, three: int) -> int:
    """Adds.

    Args:
        one: The first.
        three: The last, not two.
    """
'''
    (function,) = ast.parse(code).body
    assert isinstance(function, ast.FunctionDef)
    assert undescribed(function) == {"two", "return"}


def loaded_by(*statements: str) -> list[set[str]]:
    """The modules that are loaded after each of the statements, in one new interpreter."""
    code = "import sys\n" + "\n".join(f"{statement}\nprint(*sys.modules)" for statement in statements)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_what_imports_load() -> None:
    package, command, masks, exporters, generate, affinity = loaded_by(
        "import diffumask_datasets",
        "import diffumask_datasets.cli.app",
        "import diffumask_datasets.masks.pipeline",
        "import diffumask_datasets.exporters.coco, diffumask_datasets.exporters.cityscapes",
        "from diffumask_datasets.generation import config, generate; config.DiffuMaskConfig(classes=['car'])",
        "import diffumask_datasets.masks.affinity_net",
    )
    assert not {"datasets", "torch", "diffusers", "transformers", "pandas", "pydantic"} & package
    assert not {"datasets", "torch", "diffusers", "transformers", "pandas", "pydantic", "numpy"} & command
    assert "torch" not in masks
    assert "torch" not in exporters
    assert "torch" not in generate  # all that a process does before others generate images
    assert "torch" in affinity  # so the question can be answered otherwise


def test_the_public_names() -> None:
    assert diffumask_datasets.__all__ == [
        "ObjectAnnotation",
        "Recipe",
        "Sample",
        "__version__",
        "export",
        "generate",
        "load_dataset",
        "merge",
        "push",
        "register",
        "reproduce",
        "to_fiftyone",
        "verify",
    ]
    assert all(hasattr(diffumask_datasets, name) for name in diffumask_datasets.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        diffumask_datasets.nothing  # noqa: B018


def test_the_lowest_versions_are_those_that_are_tested() -> None:
    """What pyproject.toml allows and what ``make test-min`` installs; torch alone differs, and says so."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:dependencies|dev) = \[$(.*?)^\]$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(lists) == 2
    bounds = dict(re.findall(r'"([\w.-]+)>=([\d.]+)"', "".join(lists)))
    own, _, _ = (ROOT / "constraints-min.txt").read_text(encoding="utf-8").partition("# No dependencies of ours")
    pinned = dict(line.split("==") for line in own.splitlines() if not line.startswith("#"))
    del pinned["torch"], bounds["torch"]
    assert pinned == bounds


def test_agpl_readers_stay_in_their_own_environment() -> None:
    root = PACKAGE.parent
    code = [
        path
        for folder in ("diffumask_datasets", "builders", "exporters", "examples", "tests")
        for path in (root / folder).rglob("*.py")
    ]
    using = {path.parent for path in code if any(name.partition(".")[0] == "ultralytics" for name in imported(path))}
    assert using <= {root / "tests" / "readers"}
    for name in ("pyproject.toml", "constraints.txt", "constraints-min.txt"):
        assert "ultralytics" not in (root / name).read_text(encoding="utf-8")


READERS = {"recipes/json_reader.py", "recipes/yaml_reader.py"}
OF_OUR_OWN_TEXT = {"exporters/imagefolder.py", "exporters/target.py", "exporters/webdataset.py"}
"""These parse what they have just written themselves."""


def test_yaml_and_json_have_one_reader_each() -> None:
    parsing = re.compile(r"\b(json|yaml)\.(load|loads|safe_load|full_load|unsafe_load|parse)\(")
    using = {
        path.relative_to(PACKAGE).as_posix() for path in modules() if parsing.search(path.read_text(encoding="utf-8"))
    }
    assert using == READERS | OF_OUR_OWN_TEXT


def test_text_is_never_read_or_written_in_the_encoding_of_the_machine() -> None:
    wrong = []
    for path in modules():
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and without_encoding(call):
                wrong.append(f"{path.relative_to(PACKAGE)}:{call.lineno}")
    assert wrong == []


def without_encoding(call: ast.Call) -> bool:
    """Whether it is a ``read_text``, a ``write_text`` or an ``open`` in a text mode, and names no encoding."""
    texts = [word.value for word in call.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    text_mode = name == "open" and any(text in ("r", "w", "a", "x") for text in texts)
    return (name in ("read_text", "write_text") or text_mode) and "encoding" not in {word.arg for word in call.keywords}

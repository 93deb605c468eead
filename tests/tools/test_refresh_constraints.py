import itertools
import re
from pathlib import Path

import tomllib

from tools.refresh_constraints import EXTRAS, LEFT_OPEN, PIN, normal, refreshed

ROOT = Path(__file__).parents[2]

BEFORE = """# The versions that the suite passes with.
PyYAML==6.0.1 ; python_version >= "3.11"
gone==1.0 ; python_version >= "3.11"
torch==2.13.0
# the readers
ast_serialize==0.1 ; python_version >= "3.11"
PyYAML==6.0.1 ; python_version >= "3.11"
wrapt==1.0
"""


def test_versions_are_renewed_and_the_order_stays() -> None:
    versions = {"pyyaml": "6.0.3", "torch": "2.14.0", "ast-serialize": "0.2", "wrapt": "2.5", "b": "2", "a": "1"}
    assert (
        refreshed(BEFORE, versions)
        == """# The versions that the suite passes with.
PyYAML==6.0.3 ; python_version >= "3.11"
torch==2.13.0
# the readers
ast_serialize==0.2 ; python_version >= "3.11"
wrapt==2.5
a==1 ; python_version >= "3.11"
b==2 ; python_version >= "3.11"
"""
    )


def test_what_only_a_gpu_build_needs_is_not_pinned() -> None:
    versions = {
        "nvidia-nccl-cu12": "2",
        "cuda-bindings": "1",
        "triton": "3",
        "fiftyone-db": "1",
        "diffumask-datasets": "0",
    }
    assert refreshed("# pins\n", versions) == "# pins\n"


def test_every_requirement_of_every_extra_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert sorted(EXTRAS.split(",")) == sorted(extras)
    lines = itertools.chain(project["dependencies"], *extras.values())
    needed = {normal(re.split(r"[^\w.-]", line)[0]) for line in lines}
    pins = (PIN.fullmatch(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    pinned = {normal(pin["name"]) for pin in pins if pin}
    assert {name for name in needed - pinned if not LEFT_OPEN.fullmatch(name)} == set()

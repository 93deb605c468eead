"""Writes the newest versions that fit together to constraints.txt: ``python tools/refresh_constraints.py``.

pip resolves the package with its extras as if nothing were installed or pinned, and installs nothing. Comments and the order
of the file stay; what is needed no longer goes, what is new comes last. Run the suite before the result is committed.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXTRAS = "dev,docs,fiftyone,gs,kolors,lora,ray,s3,segmentation"
MARKER = ' ; python_version >= "3.11"'
HELD = "torch"
"""Stays as it is: it is pinned to a CPU build, and its newest version need not have one."""
LEFT_OPEN = re.compile(r"diffumask-datasets|fiftyone-db|triton|(nvidia|cuda)-.*")
"""Never pinned: the package itself, a package with two sources, and what only a GPU build of torch needs."""
PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?P<marker>.*)")


def normal(name: str) -> str:
    """The form in which names of packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def refreshed(text: str, versions: Mapping[str, str]) -> str:
    """The constraints ``text`` with ``versions``, which are by normal name."""
    lines, seen = [], set()
    for line in text.splitlines():
        pin = PIN.fullmatch(line)
        if pin is None:
            lines.append(line)
            continue
        name = normal(pin["name"])
        if name in seen or (name not in versions and name != HELD):
            continue
        seen.add(name)
        version = pin["version"] if name == HELD else versions[name]
        lines.append(f"{pin['name']}=={version}{pin['marker']}")
    new = sorted(name for name in versions if name not in seen and not LEFT_OPEN.fullmatch(name))
    return "\n".join([*lines, *(f"{name}=={versions[name]}{MARKER}" for name in new)]) + "\n"


def resolved(extras: str, torch: str) -> dict[str, str]:
    """The version of each package that pip would install, by normal name."""
    with tempfile.TemporaryDirectory() as folder:
        report, held = Path(folder, "report.json"), Path(folder, "held.txt")
        held.write_text(f"{torch}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--constraint", str(held), "--report", str(report), f"{ROOT}[{extras}]"]
        subprocess.run(command, check=True)
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {normal(item["metadata"]["name"]): item["metadata"]["version"] for item in installed}


def main() -> None:
    """Rewrites the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default=EXTRAS, help="extras of the package, with commas between them")
    parser.add_argument("--file", type=Path, default=ROOT / "constraints.txt")
    arguments = parser.parse_args()
    text = arguments.file.read_text(encoding="utf-8")
    (torch,) = re.findall(r"^torch==\S+", text, flags=re.MULTILINE)
    arguments.file.write_text(refreshed(text, resolved(arguments.extras, torch)), encoding="utf-8")


if __name__ == "__main__":
    main()

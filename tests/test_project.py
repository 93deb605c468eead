"""What the files around the package say about it is true: workflows, pre-commit, classifiers, the sdist's list."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key "on" as true, and GitHub does not.
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def steps() -> list[dict[str, Any]]:
    return [step for path in WORKFLOWS for job in parsed(path)["jobs"].values() for step in job["steps"]]


def commands() -> str:
    return "\n".join(step["run"] for step in steps() if "run" in step)


def test_workflows_tell_the_token_what_it_may_do() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "docs.yml", "release.yml"]
    assert [parsed(path)["permissions"] for path in WORKFLOWS] == [{"contents": "read"}] * 3
    publish = parsed(ROOT / ".github/workflows/release.yml")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}


def test_targets_and_files_of_the_workflows_exist() -> None:
    targets = {name for line in re.findall(r"^\s*make (.*)$", commands(), re.MULTILINE) for name in line.split()}
    targets = {name for name in targets if "=" not in name}
    known = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    assert targets == {"docs", "lint", "release-check", "setup", "test", "types"}
    assert targets <= known
    paths = re.findall(r"tests/\S+", commands())
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_python_versions_agree() -> None:
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text("pyproject.toml"))
    assert named == ["3.10", "3.11", "3.12", "3.13"]
    assert parsed(ROOT / ".github/workflows/ci.yml")["jobs"]["linux"]["strategy"]["matrix"]["python"] == named
    assert f'requires-python = ">={named[0]}"' in text("pyproject.toml")


def test_pre_commit_runs_the_ruff_of_the_constraints() -> None:
    (repo,) = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert f"ruff=={repo['rev'].removeprefix('v')} " in text("constraints.txt")


def test_issue_forms_have_what_github_asks_for() -> None:
    assert [path.name for path in FORMS] == ["bug.yml", "config.yml", "feature.yml"]
    for path in FORMS[::2]:
        form = parsed(path)
        assert {"name", "description", "body"} <= set(form)
        ids = [field["id"] for field in form["body"]]
        assert len(set(ids)) == len(ids)
        assert all(field["attributes"]["label"] for field in form["body"])


def test_every_phony_target_exists() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*) \$\(BENCHMARKS\)$", text("Makefile"), re.MULTILINE)
    assert set(phony.split()) <= set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))

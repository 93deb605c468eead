import re

from diffumask_datasets.errors import __all__ as error_names
from diffumask_datasets.recipes.recipe import Recipe
from tools.reference import PAGES, commands_page, errors_page, on_page_content, recipe_page


def test_every_command_has_its_options() -> None:
    page = commands_page()
    assert "## diffumask generate\n\nGenerate images and masks of CLASSES into a dataset folder; started again," in page
    assert "| `--batch-size` |  | Images generated at once; default: 1 on the CPU, on a GPU what fits. |" in page
    assert "| `--output` | required | Where the dataset goes: a folder, or a URL, e.g. s3://bucket/ds. |" in page
    assert re.findall(r"^## diffumask (\S+)", page, re.MULTILINE)[:3] == ["generate", "merge", "prompts"]


def test_every_field_of_a_recipe_stands_once() -> None:
    page, _, _ = recipe_page().partition("## Prompt sources")
    fields = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(fields) == sorted(Recipe.model_fields)
    assert "| `min_area` | `float`, ≥ 0, < 1 | `0.005` |" in page
    assert "| `classes` | `tuple[str, ...]` | required |" in page


def test_every_error_stands_once() -> None:
    named = re.findall(r"^\| `(\w+)` \|", errors_page(), re.MULTILINE)
    assert named == sorted(name for name in error_names if name.endswith("Error"))


def test_rows_have_as_many_cells_as_their_table() -> None:
    for make in (commands_page, recipe_page, errors_page):
        rows = [line for line in make().splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}
    assert set(PAGES) >= {"reference/commands.md", "reference/recipe.md", "reference/errors.md"}


def test_docstrings_lose_the_roles_of_sphinx() -> None:
    html = "<p>for :func:<code>a.merge</code>, :class:<code>~a.b.Recipe</code>: <code>x</code></p>"
    assert on_page_content(html) == "<p>for <code>a.merge</code>, <code>a.b.Recipe</code>: <code>x</code></p>"

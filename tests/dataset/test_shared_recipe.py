from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets import generate
from diffumask_datasets.dataset.shared_recipe import read_shared_recipe, with_shared_recipe
from diffumask_datasets.errors import DiffuMaskError, RecipeError
from diffumask_datasets.generation.config import DiffuMaskConfig


def a_recipe(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(text)
    return folder


def bytes_of(dataset: Any) -> list[tuple[str, bytes, bytes]]:
    columns = dataset.with_format("arrow")[:].to_pydict()
    return [
        (sample_id, image["bytes"], label["bytes"])
        for sample_id, image, label in zip(columns["sample_id"], columns["image"], columns["label"], strict=True)
    ]


def test_a_folder_is_made_again_from_its_recipe(planted: dict[str, Any], tmp_path: Path, cache_dir: str) -> None:
    generate(tmp_path / "ds", splits={"train": 3, "validation": 2}, skip=[1], store=tmp_path / "one", **planted)
    original = load_dataset(str(tmp_path / "ds"), cache_dir=cache_dir)
    again = load_dataset("diffumask", recipe=str(tmp_path / "ds"), store=str(tmp_path / "two"), cache_dir=cache_dir)
    assert [sample_id[-8:] for sample_id in again["train"]["sample_id"]] == ["00000000", "00000002", "00000003"]
    for split in ("train", "validation"):
        assert bytes_of(again[split]) == bytes_of(original[split])


def test_what_the_user_says_wins(planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "ds", num_samples=2, **planted)
    config = DiffuMaskConfig(recipe=tmp_path / "ds", num_samples=1, seed=4, keep_heat_maps=True)
    assert (config.plan.sizes, config.recipe.seed, config.keep_heat_maps) == ({"train": 1}, 4, True)
    assert config.recipe.height == 48


def test_none_is_a_choice_of_the_user_too(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path / "ds", "classes: [car]\naffinity: self-attention\nrefinement: densecrf\nheight: 64")
    own = {"affinity": None, "refinement": None, "height": None}
    fields = with_shared_recipe(recipe, own)
    assert (fields["affinity"], fields["refinement"], fields["height"]) == (None, None, 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: !!python/object/apply:os.system ['touch /tmp/owned']", "is not plain YAML"),
        ("classes: !custom car", "is not plain YAML"),
        ("classes: [&a car, *a]", "class 'car' is named twice"),
        ("- car", "expected fields like"),
        ("classes: [car]\nimport: os", "unknown field 'import'"),
        ("classes: [car]\nstore: /tmp", "unknown field 'store'"),
        ("classes: [car]\ntrust_remote_code: true", "unknown field 'trust_remote_code'"),
        ("classes: ['../../etc']", "classes: '../../etc' is a path, not a name"),
        ("classes: [car]\nmodel: ../model", "names the local model '../model', which is not followed"),
        ("classes: [car]\nmodel: /srv/model", "names the local model '/srv/model', which is not followed"),
        ("classes: [car]\nmodel: here/model", "names the local model 'here/model', which is not followed"),
        ("classes: [car]\nmodel: you/model\npickle_weights: true", "asks for pickled weights, which can run any code"),
        ("classes: [car]\nmodel: you/model\npickle_weights: 'yes'", "asks for pickled weights, which can run any code"),
        ("classes: [car]\nlora: /srv/lora", "names the local lora '/srv/lora', which is not followed"),
        ("classes: [car]\nlora: ../lora", "names the local lora '../lora', which is not followed"),
        ("classes: [car]\nvariant: ../../x", "variant: '../../x' is a path, not a name"),
        (
            "classes: [car]\naffinity: affinitynet\naffinity_net: net.safetensors",
            "names the local affinity_net 'net.safetensors'",
        ),
        (
            "classes: [car]\nprompt_source: {kind: captions, path: /etc/passwd}",
            "names the local prompt_source path '/etc/passwd', which is not followed",
        ),
        (
            "classes: [car]\naugment:\n- {kind: compose, backgrounds: /home/me/photos}",
            "names the local augment backgrounds '/home/me/photos', which is not followed",
        ),
        (
            "classes: [car]\nprompt_source: {kind: retrieval, path: you/captions, encoder: here/model}",
            "names the local prompt_source encoder 'here/model'",
        ),
        (
            "classes: [car]\nprompt_source: {kind: language_model, model: /srv/model}",
            "names the local prompt_source model '/srv/model'",
        ),
        (f"classes: [{', '.join(map(str, range(100_000)))}]", "100000 classes; an 8-bit mask holds 254 at most"),
        ("classes: /etc/words.yaml", "classes: '/etc/words.yaml' is a path, not a name"),
        ("classes: [car, boat]\nco_occurrence: /etc/passwd", "co_occurrence: '/etc/passwd' is a path"),
        ("classes: [car, boat]\nco_occurrence: {path: /etc/passwd}", "co_occurrence: '/etc/passwd' is a path"),
        ("classes: [car]\nvocabulary: [{name: car, like: /etc/a.yaml/b}]", "like: expected a class of ade20k"),
        ("classes: [car]\nrevision: a/b", "revision: 'a/b' is no commit"),
        ("classes: [car]\nsplits: {train: 80000000}", "asks for 80000000 samples; more than 100000 are only"),
        ("classes: [car]\nnum_samples: 100001", "asks for 100001 samples"),
        ("classes: [car]\nnum_samples: 1e9", "expected a number of samples"),
        ("classes: [car]\nsplits: {../train: 8}", "unknown split '../train'"),
        ("classes: [car]\nskip: [-1]", "skip: expected indices"),
        ("classes: [car]\nheight: 100000", "height: Input should be less than or equal to 4096"),
        ("classes: [car]\nsplits: [1]", "splits: expected sizes"),
    ],
)
def test_a_strangers_recipe_is_data_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "model").mkdir(parents=True)
    with pytest.raises(RecipeError) as caught:
        DiffuMaskConfig(recipe=a_recipe(tmp_path / "strange", text))
    assert message in str(caught.value)


def test_the_user_may_ask_for_what_the_recipe_may_not(tmp_path: Path) -> None:
    text = "classes: [car]\nmodel: /srv/model\nrevision: x\nsplits: {train: 80000000}"
    config = DiffuMaskConfig(recipe=a_recipe(tmp_path / "strange", text), model="planted", num_samples=200_000)
    assert (config.recipe.model, config.plan.sizes) == ("planted", {"train": 200_000})


def test_only_the_user_allows_pickles_and_names_files(tmp_path: Path) -> None:
    text = (
        "classes: [car]\nmodel: you/model\npickle_weights: true\nlora: /srv/lora\nlora_revision: abc\n"
        "prompt_source: {kind: captions, path: /etc/passwd}"
    )
    recipe = a_recipe(tmp_path / "strange", text)
    own = {"pickle_weights": True, "lora": "/my/lora", "prompt_source": {"kind": "captions", "path": "/my/captions"}}
    fields = with_shared_recipe(recipe, own)
    assert {name: fields[name] for name in own} == own
    assert "lora_revision" not in fields
    for name in own:
        with pytest.raises(RecipeError, match="or you trust it"):
            with_shared_recipe(recipe, {other: value for other, value in own.items() if other != name})


def test_one_word_of_the_user_trusts_a_recipe(tmp_path: Path) -> None:
    text = "classes: [car]\nmodel: ../model\npickle_weights: true\nlora: /srv/lora\nlora_revision: abc\nnum_samples: 3"
    fields = with_shared_recipe(a_recipe(tmp_path / "own", text), {}, trust=True)
    assert (fields["model"], fields["lora"], fields["lora_revision"]) == ("../model", "/srv/lora", "abc")
    with pytest.raises(RecipeError, match="asks for 100001 samples"):
        with_shared_recipe(a_recipe(tmp_path / "own", "classes: [car]\nnum_samples: 100001"), {}, trust=True)


@pytest.mark.parametrize("done", ["augmented", "labelled"])
def test_what_was_not_generated_is_not_generated_again(tmp_path: Path, done: str) -> None:
    recipe = a_recipe(tmp_path / "ds", f"classes: [car]\n{done}: {{digest: abc}}")
    with pytest.raises(RecipeError, match=f"describes a dataset that was {done}"):
        with_shared_recipe(recipe, {})


def test_no_recipe_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe at"):
        read_shared_recipe(tmp_path)


@given(st.text())
def test_any_text_is_a_recipe_or_one_error_of_ours(text: str) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        Path(folder, "recipe.yaml").write_text(text, encoding="utf-8", errors="replace")
        try:
            fields = read_shared_recipe(folder)
        except DiffuMaskError:
            return
        assert fields == yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))

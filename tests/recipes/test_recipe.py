import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.recipe import Recipe


def test_the_toybox_has_defaults_of_its_own() -> None:
    toybox, other = Recipe.of(classes=["car"]), Recipe.of(classes=["car"], model="me/sd")
    assert (toybox.height, toybox.width, toybox.num_inference_steps) == (128, 128, 20)
    assert (other.height, other.width, other.num_inference_steps) == (512, 512, 50)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"classes": ["car", "boat"]}, {"classes": ("car", "boat")}),
        ({"classes": "car"}, {"classes": ["car"]}),
        ({"classes": ["car"]}, {"classes": ["car"], "model": "toybox", "height": 128, "guidance_scale": 3.5}),
        ({"classes": ["car"]}, {"classes": ["car"], "seed": None}),
        ({"classes": ["car"], "attention_grids": [32, 16]}, {"classes": ["car"], "attention_grids": (16, 32, 32)}),
        ({"classes": ["car"], "guidance_scale": 4}, {"classes": ["car"], "guidance_scale": 4.0}),
        ({"classes": [" potted  plant"]}, {"classes": ["potted plant"]}),
        ({"classes": ["car"]}, {"classes": {"car": ["car"]}}),
        ({"classes": ["car"]}, {"classes": {"car": {"terms": "car", "sub_classes": []}}, "prompt_source": "templates"}),
        ({"classes": "voc"}, {"classes": "voc", "prompt_source": {"kind": "sub_classes", "blank": 0.2}}),
        ({"classes": "voc:dog"}, {"classes": {"dog": {"like": "voc/dog"}}}),
    ],
)
def test_equal_recipes_have_equal_digests(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert Recipe.of(**one).digest == Recipe.of(**other).digest


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["boat", "car"]},
        {"seed": 1},
        {"height": 64},
        {"threshold": 0.5},
        {"refinement": None},
        {"prompts": ["{classes}"]},
        {"revision": "abc"},
        {"negative_prompt": "blurry"},
        {"attention_timesteps": [0, 500]},
        {"classes_per_image": 2},
        {"attention_layers": ["up_blocks.*"]},
        {"contrast": "words"},
        {"attention_words": "class"},
        {"competition": 2},
        {"affinity": None},
        {"affinity_power": 2},
        {"unary": "hard"},
        {"split_touching": False},
        {"class_weights": [1, 2]},
        {"co_occurrence": {"car": {"boat": 1}}},
        {"classes": {"car": ["automobile"], "boat": ["boat"]}},
        {"classes": {"car": ["car", "automobile"], "boat": ["boat"]}},
        {"prompt_source": "sub_classes"},
        {"prompt_source": {"kind": "sub_classes", "contexts": ["at night"]}},
        {"augment": ["blur"]},
    ],
)
def test_every_field_changes_the_digest(change: dict[str, Any]) -> None:
    assert Recipe.of(**{"classes": ["car", "boat"], **change}).digest != Recipe.of(classes=["car", "boat"]).digest


def test_a_pinned_model_is_known_by_its_content() -> None:
    here = Recipe.of(classes=["car"], model="/here/sd", revision="0123456789abcdef")
    there = Recipe.of(classes=["car"], model="/there/sd", revision="0123456789abcdef")
    assert here.digest == there.digest


def test_a_pinned_affinity_net_is_known_by_its_content() -> None:
    common = {"classes": ["car"], "affinity": "affinitynet", "affinity_net_revision": "0123456789abcdef"}
    assert Recipe.of(**common, affinity_net="/here").digest == Recipe.of(**common, affinity_net="/there").digest


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threshold": "affinity", "affinity": None}, "threshold 'affinity' needs affinity="),
        ({"affinity": "affinitynet"}, "affinity 'affinitynet' and affinity_net='FILE' go together"),
        ({"affinity_net": "file"}, "affinity 'affinitynet' and affinity_net='FILE' go together"),
        ({"affinity_grids": []}, "name at least one grid"),
        ({"competition": -1}, "greater than or equal to 0"),
    ],
)
def test_affinity_and_competition_are_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.of(classes=["car"], **fields)


def test_the_digest_never_changes_by_itself() -> None:
    assert Recipe.of(classes=["car"], model="me/sd").digest == "f1b15a377867"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": []}, "classes: name at least one class"),
        ({"classes": ["car", " "]}, "classes: name at least one class, none of them empty"),
        ({"classes": ["car", "Car"]}, "class 'car' is named twice"),
        ({"classes": ["hot dog", "car", "hot-dog"]}, "class 'hot dog' is named twice"),
        ({"classes": ["cafe\u0301", "café"]}, "class 'café' is named twice"),
        ({"classes": [f"c{number}" for number in range(255)]}, "255 classes; an 8-bit mask holds at most 254"),
        ({"classes": ["car"], "height": 0}, "height: Input should be greater than 0 (given: 0)"),
        ({"classes": ["car"], "num_inference_steps": -5}, "num_inference_steps: Input should be greater than 0"),
        ({"classes": ["car"], "guidance_scale": float("nan")}, "guidance_scale: Input should be a finite number"),
        ({"classes": ["car"], "threshold": 1.5}, "threshold: a fixed threshold lies between 0 and 1"),
        (
            {"classes": ["car"], "threshold": "ots"},
            "unknown threshold 'ots' (did you mean 'otsu'?); there are: 'otsu', ",
        ),
        ({"classes": ["car"], "threshold": True}, "threshold: expected a text or a mapping (given: True)"),
        ({"classes": ["car"], "refinement": {"size": 3}}, "refinement: name its kind"),
        (
            {"classes": ["car"], "refinement": "crf"},
            "refinement: unknown refinement 'crf'; there are: 'densecrf', 'densecrf-paper' (given: 'crf')",
        ),
        ({"classes": ["car"], "attention_grids": []}, "attention_grids: name at least one grid"),
        ({"classes": ["car"], "attention_timesteps": [500, 50]}, "0 <= first <= last <= 1000"),
        ({"classes": ["car"], "classes_per_image": 2}, "classes_per_image is 2 but only 1 classes are named"),
        ({"classes": ["car"], "prompts": []}, "prompts: give at least one prompt"),
        ({"classes": ["car"], "prompts": ["{classes} {classes}"]}, "has more than one place for the class terms"),
        ({"classes": ["car"], "hight": 64}, "unknown field 'hight' (did you mean 'height'?); legal fields: "),
    ],
)
def test_bad_input_is_one_clear_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.of(**fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_survives_dump_and_pickle() -> None:
    recipe = Recipe.of(classes="cityscapes", model="me/sd", class_weights={"car": 3})
    assert (len(recipe.classes), recipe.classes[0], len(recipe.vocabulary)) == (19, "road", 19)
    assert Recipe.of(**recipe.model_dump(mode="json")) == recipe
    assert pickle.loads(pickle.dumps(recipe)).digest == recipe.digest
    assert recipe.words_of("car").terms == ("car",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": "vocs"}, "unknown vocabulary 'vocs' (did you mean 'voc'?)"),
        ({"classes": {"car": []}}, "class 'car' has no terms"),
        ({"classes": {"car": ["auto"], "bus": ["Auto"]}}, "the word 'Auto' stands for 'car' and for 'bus'"),
        (
            {"classes": {"snack": ["hot-dog"], "dog": ["hot dog"]}},
            "the word 'hot dog' stands for 'snack' and for 'dog'",
        ),
        ({"classes": ["car"], "vocabulary": [{"name": "bus", "terms": ["bus"]}]}, "'bus' is none of the classes"),
        ({"classes": ["car"], "vocabulary": ["bus"]}, "expected entries with a name and terms, got 'bus'"),
        ({"classes": ["car"], "augment": ["mixup"]}, "augment: 0: unknown kind 'mixup'; there are: 'splice', 'blur', "),
    ],
)
def test_words_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.of(**fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_254_classes_fit() -> None:
    assert len(Recipe.of(classes=[f"c{number}" for number in range(254)]).classes) == 254


@given(
    seed=st.integers(0, 2**63 - 1),
    threshold=st.one_of(st.floats(0.01, 0.99), st.sampled_from(["otsu", "adaptive"])),
    classes=st.lists(st.text("abc xyz", min_size=1).filter(str.strip), min_size=1, max_size=5),
)
def test_a_recipe_survives_pickle_and_dump(seed: int, threshold: Any, classes: list[str]) -> None:
    names = list(dict.fromkeys(" ".join(name.split()) for name in classes))
    recipe = Recipe.of(classes=names, seed=seed, threshold=threshold)
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert Recipe.of(**recipe.model_dump(mode="json")).digest == recipe.digest

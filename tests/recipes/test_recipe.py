import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes import vocabulary
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.vocabulary import places, styles

FIELDS = {
    "height": 512,
    "width": 512,
    "num_inference_steps": 50,
    "guidance_scale": 7.5,
    "attention_grids": (16, 32, 64),
    "affinity": "self-attention",
    "attention_words": "phrase",
}
"""Values for what a recipe leaves open, most of them other than where nothing completes it."""


def test_what_depends_on_the_model_is_left_open() -> None:
    recipe = Recipe.of(classes=["car"])
    assert (recipe.height, recipe.width, recipe.num_inference_steps) == (None, None, None)
    assert (recipe.guidance_scale, recipe.attention_grids) == (None, None)


def test_what_is_given_is_not_completed() -> None:
    recipe = Recipe.of(classes=["car"], height=64, affinity=None, attention_words="class").completed(FIELDS)
    assert (recipe.height, recipe.width, recipe.affinity, recipe.attention_words) == (64, 512, None, "class")
    assert recipe.completed({"affinity": "self-attention", "height": 8}) == recipe
    assert pickle.loads(pickle.dumps(Recipe.of(classes=["car"], affinity=None))).completed(FIELDS).affinity is None


@pytest.mark.parametrize(
    ("height", "width", "grids"), [(512, 512, (16, 32, 64)), (768, 1024, (24, 48, 96)), (880, 1184, (27, 55, 110))]
)
def test_grids_follow_the_size(height: int, width: int, grids: tuple[int, ...]) -> None:
    fields = {**FIELDS, "height": height, "width": width}
    del fields["attention_grids"]
    assert Recipe.of(classes=["car"]).completed(fields).attention_grids == grids


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threshold": "affinity"}, "threshold 'affinity' needs affinity="),
        ({"augment": ["splice:8x8"]}, "the grid 8x8 is too large for an image of 16x16 pixels"),
    ],
)
def test_defaults_that_the_other_fields_do_not_allow(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.of(classes=["car"], **fields).completed({**FIELDS, "affinity": None, "height": 16, "width": 16})


def test_validation_reads_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fields name is read by ``of``, before."""
    fields = Recipe.of(classes="voc", prompt_source="sub_classes").model_dump(exclude_unset=True)
    copied = Recipe(**fields).digest

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    for cached in (styles, places, vocabulary._phrases):
        cached.cache_clear()
    monkeypatch.setattr("io.open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(AssertionError, match="a file was opened"):
        Recipe.of(classes=["car"], prompt_source="sub_classes")
    assert Recipe(**fields).digest == copied
    assert Recipe(classes=("car",), model="owner/name", lora="none.safetensors").lora == "none.safetensors"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"classes": ["car", "boat"]}, {"classes": ("car", "boat")}),
        ({"classes": "car"}, {"classes": ["car"]}),
        ({"classes": ["car"]}, {"classes": ["car"], "model": "toybox", "height": 512, "guidance_scale": 7.5}),
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
    assert Recipe.of(**one).completed(FIELDS).digest == Recipe.of(**other).completed(FIELDS).digest


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
        {"background": None},
        {"class_weights": [1, 2]},
        {"co_occurrence": {"car": {"boat": 1}}},
        {"classes": {"car": ["automobile"], "boat": ["boat"]}},
        {"classes": {"car": ["car", "automobile"], "boat": ["boat"]}},
        {"prompt_source": "sub_classes"},
        {"prompt_source": {"kind": "sub_classes", "contexts": ["at night"]}},
        {"augment": ["blur"]},
        {"presence": "me/clip", "max_attempts": 2},
    ],
)
def test_every_field_changes_the_digest(change: dict[str, Any]) -> None:
    changed = Recipe.of(**{"classes": ["car", "boat"], **change}).completed(FIELDS)
    assert changed.digest != Recipe.of(classes=["car", "boat"]).completed(FIELDS).digest


def test_a_pinned_model_is_known_by_its_content() -> None:
    here = Recipe.of(classes=["car"], model="/here/sd", revision="0123456789abcdef")
    there = Recipe.of(classes=["car"], model="/there/sd", revision="0123456789abcdef")
    assert here.digest == there.digest


def test_a_pinned_affinity_net_is_known_by_its_content() -> None:
    common = {"classes": ["car"], "affinity": "affinitynet", "affinity_net_revision": "0123456789abcdef"}
    assert Recipe.of(**common, affinity_net="/here").digest == Recipe.of(**common, affinity_net="/there").digest


def test_a_pinned_image_text_model_is_known_by_its_content() -> None:
    common = {"classes": ["car"], "max_attempts": 2, "presence_revision": "0123456789abcdef"}
    here, there = (Recipe.of(**common, presence=place).digest for place in ("/here/clip", "/there/clip"))
    assert here == there
    assert here != Recipe.of(**{**common, "presence_revision": "fedcba9876543210"}, presence="/here/clip").digest


def test_presence_needs_attempts() -> None:
    with pytest.raises(RecipeError, match=r"presence 'me/clip' needs max_attempts of 2 or more, e\.g\. max_attempts=5"):
        Recipe.of(classes=["car"], presence="me/clip")


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


def test_a_vocabulary_says_which_classes_are_stuff() -> None:
    recipe = Recipe.of(classes="cityscapes:car,road,sky")
    assert recipe.stuff == ("road", "sky")
    assert Recipe.of(**recipe.model_dump(mode="json")).stuff == recipe.stuff
    assert Recipe.of(classes="cityscapes:car,road,sky", stuff="sky").stuff == ("sky",)
    assert Recipe.of(classes=["car", "road"]).stuff == ()
    # Without a composition it decides nothing.
    plain = {"classes": ["car", "road"], "model": "me/sd"}
    assert Recipe.of(**plain, stuff="road").digest == Recipe.of(**plain).digest
    with pytest.raises(RecipeError, match=r"stuff: 'raod' is none of the classes .did you mean 'road'"):
        Recipe.of(**plain, stuff="raod")


def test_the_digest_never_changes_by_itself() -> None:
    given = {"height": 512, "width": 512, "num_inference_steps": 50, "guidance_scale": 7.5}
    given |= {"attention_grids": [16, 32, 64], "attention_timesteps": [0, 1000]}
    assert Recipe.of(classes=["car"], model="me/sd", **given).digest == "f1b15a377867"


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
            "refinement: unknown refinement 'crf'; there are: 'densecrf', 'densecrf-paper', 'sam' (given: 'crf')",
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

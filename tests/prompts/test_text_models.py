from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from diffumask_datasets.errors import ModelError
from diffumask_datasets.prompts.sources import check_prompts, prompt_for
from diffumask_datasets.prompts.text_models import _lead_tokens, _loaded
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import SPLIT_STARTS

WORDS = "a an photo of dog car and with red blue big small old new house tree on in at by the sun rain snow . <s> </s> <unk>"


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model with random weights: what it writes is seeded nonsense of real words."""
    folder = tmp_path_factory.mktemp("writer")
    vocabulary = {word: number for number, word in enumerate(WORDS.split())}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=vocabulary["<s>"],
        eos_token_id=vocabulary["</s>"],
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def recipe_of(writer: Path, **fields: object) -> Recipe:
    source = {"kind": "language_model", "model": str(writer), "max_words": 6, **fields}
    return Recipe.of(classes=["dog", "car"], model="planted", prompt_source=source).pinned()


def test_it_goes_on_from_the_lead_and_the_term_survives(writer: Path) -> None:
    recipe = recipe_of(writer)
    prompts = [prompt_for(recipe, index) for index in range(12)]
    for prompt in prompts:
        (name,) = prompt.categories
        assert prompt.text.startswith(f"a photo of a {name}")
        assert {prompt.text[term.start : term.end] for term in prompt.terms} == {name}
        assert len(prompt.text.split()) <= 5 + 6
        assert "." not in prompt.text
    assert len({prompt.text for prompt in prompts}) > 8


def test_a_prompt_depends_on_recipe_and_index_alone(writer: Path) -> None:
    torch.manual_seed(1)
    first = [prompt_for(recipe_of(writer), index).text for index in (0, 1, 2)]
    state = torch.get_rng_state()
    # Another field gives another source, whose cache knows nothing of the first.
    again = [prompt_for(recipe_of(writer).model_copy(update={"height": 256}), index).text for index in (2, 1, 0)]
    assert again[::-1] == first
    assert torch.equal(torch.get_rng_state(), state)


def test_the_splits_share_no_prompt(writer: Path) -> None:
    recipe = recipe_of(writer, max_words=2)
    train = {prompt_for(recipe, index).text for index in range(12)}
    validation = {prompt_for(recipe, SPLIT_STARTS["validation"] + index).text for index in range(3)}
    assert not train & validation


def test_the_model_is_known_by_its_content(writer: Path, tmp_path: Path) -> None:
    recipe = recipe_of(writer)
    assert Recipe.of(**recipe.model_dump(mode="json")).digest == recipe.digest
    assert recipe_of(writer, temperature=2.0).digest != recipe.digest
    with pytest.raises(ModelError, match="not the revision 'old'"):
        recipe_of(writer, revision="old")


def test_a_model_for_conversation_goes_on_with_its_answer(writer: Path) -> None:
    tokenizer, _ = _loaded("AutoModelForCausalLM", str(writer), None)
    plain = tokenizer.convert_ids_to_tokens(_lead_tokens(tokenizer, "a photo of a dog")[0].tolist())
    tokenizer.chat_template = (
        "{% for m in messages %}<s> {{ m['content'] }}{% if not loop.last %} </s> {% endif %}{% endfor %}"
    )
    try:
        asked = tokenizer.convert_ids_to_tokens(_lead_tokens(tokenizer, "a photo of a dog")[0].tolist())
    finally:
        tokenizer.chat_template = None
    assert plain == ["a", "photo", "of", "a", "dog"]
    assert asked.count("<s>") == 2
    assert asked[-5:] == plain


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    recipe = recipe_of(tmp_path)
    for use in (check_prompts, lambda recipe: prompt_for(recipe, 0)):
        with pytest.raises(ModelError, match="cannot be loaded") as caught:
            use(recipe)
        assert "\n" not in str(caught.value)

"""The very string that a pipeline feeds, and where its tokens end up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.diffusion.text import Both, Text, chat, lowered, wrapped
from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.prompt import Prompt, Term
from tests.helpers.tiny_models import vocabularies
from tests.helpers.tiny_models.cases import CAR, PLANT


def shown(prompt):
    return [prompt.text[term.start : term.end] for term in prompt.terms]


@given(st.text("aİß Σ\t", max_size=6), st.text("İaΣ", min_size=1, max_size=3), st.text("aİ \n", max_size=6))
def test_lower_case_keeps_the_find_terms_place(before, name, after):
    prompt = lowered(None, Prompt(before + name + after, (Term(name, len(before), len(before + name)),)))
    assert prompt.text == (before + name + after).lower().strip()
    # A sigma's lower case depends on what follows; its length does not.
    assert shown(prompt)[0].replace("ς", "σ") == name.lower().replace("ς", "σ")


def test_a_prompt_between_other_texts():
    assert shown(wrapped(CAR, "draw: ", "!")) == ["car"]
    assert wrapped(CAR, "draw: ", "!").text == "draw: a photo of a red car!"


def test_chat_templates():
    prompt = chat(vocabularies.qwen(), PLANT, add_generation_prompt=True)
    assert prompt.text == "<|im_start|>user\na potted plant<|im_end|>\n<|im_start|>assistant\n"
    assert shown(prompt) == ["potted plant"]
    prompt = chat(vocabularies.mistral(), CAR, system="a car")
    assert prompt.text == "<s>[SYSTEM_PROMPT]a car[/SYSTEM_PROMPT][INST]a photo of a red car[/INST]"
    assert prompt.terms[0].start == prompt.text.rindex("car")
    shouting = vocabularies.qwen()
    shouting.chat_template = "{{ messages[0]['content'] | upper }}"
    with pytest.raises(TokenAlignmentError, match=r"the chat template .* changes the prompt 'a photo of a red car'"):
        chat(shouting, CAR)


@pytest.mark.parametrize(
    ("options", "car", "plant"),
    [
        ({"max_length": 20}, 19, (18, 19)),
        ({"padding": "longest"}, 7, (6, 7)),
        ({"padding": "longest", "multiple": 16}, 15, (14, 15)),
        ({"padding": "none"}, 7, (3, 4)),
        ({"padding": "none", "dropped": 2, "offset": 10}, 15, (11, 12)),
        ({"padding": "none", "special_tokens": False}, 5, (1, 2)),
    ],
)
def test_left_padding_moves_the_tokens(options, car, plant):
    """[gMASK] <sop> a photo of a red car: eight tokens; the plant's prompt has five."""
    texts = Text(**options)(SimpleNamespace(tokenizer=vocabularies.glm()), [CAR, PLANT])
    assert [text.token_indices for text in texts] == [{"car": (car,)}, {"potted plant": plant}]


def test_two_encoders_and_one_that_is_missing():
    both = Both(Text(), Text(tokenizer="tokenizer_2", max_length=20, offset=16), optional="text_encoder_2")
    pipeline = SimpleNamespace(tokenizer=vocabularies.clip(), tokenizer_2=vocabularies.t5(), text_encoder_2=1)
    assert both(pipeline, [PLANT])[0].token_indices == {"potted plant": (2, 3, 17, 18)}
    pipeline.text_encoder_2 = None
    assert both(pipeline, [PLANT])[0].token_indices == {"potted plant": (2, 3)}


def test_truncation_counts_as_the_pipeline_does_it():
    pipeline = SimpleNamespace(tokenizer=vocabularies.t5())
    assert Text(max_length=7)(pipeline, [CAR])[0].token_indices == {"car": (5,)}
    with pytest.raises(TokenAlignmentError, match=r"'car' is truncated away: .* has 7 tokens, this model reads 6"):
        Text(max_length=6)(pipeline, [CAR])


def test_words_and_start_token():
    """What the user wrote, wherever a template puts it; the first token where the tokenizer adds it."""
    pipeline = SimpleNamespace(tokenizer=vocabularies.clip(), tokenizer_2=vocabularies.t5(), text_encoder_2=1)
    clip, t5 = Text(), Text(tokenizer="tokenizer_2", max_length=20, offset=16)
    (text,) = clip(pipeline, [CAR])  # <start> a photo of a red car <end>
    assert (text.words, text.start) == ((1, 2, 3, 4, 5, 6), 0)
    (text,) = t5(pipeline, [PLANT])  # a potted plant </s>
    assert (text.words, text.start) == ((16, 17, 18), None)
    (text,) = Both(clip, t5)(pipeline, [PLANT])
    assert (text.words, text.start) == ((1, 2, 3, 16, 17, 18), 0)
    (text,) = Text(feed=lambda _, prompt: wrapped(prompt, "photo of ", " a car"))(pipeline, [PLANT])
    assert (text.words, text.start) == ((3, 4, 5), 0)
    (text,) = Text(max_length=5)(pipeline, [PLANT])
    assert text.words == (1, 2, 3)
    glm = SimpleNamespace(tokenizer=vocabularies.glm())
    assert [(text.words, text.start) for text in Text(padding="longest")(glm, [CAR, PLANT])] == [
        ((2, 3, 4, 5, 6, 7), 0),
        ((5, 6, 7), 3),
    ]
    (text,) = Text(padding="none", dropped=2)(glm, [PLANT])
    assert (text.words, text.start) == ((0, 1, 2), None)
    (text,) = Text(padding="none", dropped=1, keeps_start=True)(glm, [PLANT])
    assert (text.words, text.start) == ((1, 2, 3), 0)

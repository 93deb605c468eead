"""Class terms to token indices, with real byte-pair tokenizers of CLIP's class."""

import importlib

import pytest

from diffumask_datasets.attention.alignment import align_terms
from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.prompt import Prompt, Term
from tests.helpers.byte_pairs import byte_pair_tokenizer

PIECES = ("a</w>", "photo</w>", "of</w>", "car</w>", "potted</w>", "plant</w>", "tv</w>")
PIECES += ("monitor</w>", "motor", "bike</w>")


def prompt_of(text, *categories):
    terms = [Term(name, text.lower().index(name), text.lower().index(name) + len(name)) for name in categories]
    return Prompt(text, tuple(terms))


@pytest.fixture(scope="module")
def tokenizer():
    return byte_pair_tokenizer(PIECES, model_max_length=12)


@pytest.mark.parametrize(
    ("text", "category", "tokens", "pieces"),
    [
        ("a photo of a car", "car", (5,), ["car</w>"]),
        ("a photo of a potted plant", "potted plant", (5, 6), ["potted</w>", "plant</w>"]),
        ("a tv monitor, a photo", "tv monitor", (2, 3), ["tv</w>", "monitor</w>"]),
        ("a photo of a motorbike", "motorbike", (5, 6), ["motor", "bike</w>"]),
        ("A  Photo of a MotorBike", "motorbike", (5, 6), ["motor", "bike</w>"]),
        ("a café, a motorbike!", "motorbike", (8, 9), ["motor", "bike</w>"]),
    ],
)
def test_tokens_of_a_term(tokenizer, text, category, tokens, pieces):
    assert align_terms(prompt_of(text, category), tokenizer, max_length=20) == {category: tokens}
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens([ids[token] for token in tokens]) == pieces


def test_all_mentions_count_and_classes_keep_their_order(tokenizer):
    prompt = Prompt("car, potted plant, car", (Term("car", 0, 3), Term("potted plant", 5, 17), Term("car", 19, 22)))
    aligned = align_terms(prompt, tokenizer)
    assert aligned == {"car": (1, 6), "potted plant": (3, 4)}
    assert list(aligned) == ["car", "potted plant"]


def test_truncated_term(tokenizer):
    text = "a photo of a photo of a photo of a photo of a car"
    with pytest.raises(TokenAlignmentError) as error:
        align_terms(prompt_of(text, "car"), tokenizer)
    assert str(error.value) == (
        f"class term 'car' is truncated away: the prompt {text!r} has 16 tokens, this model reads 12; "
        "shorten the prompt or name the class earlier"
    )


def test_half_truncated_term_does_not_count(tokenizer):
    text = "a photo of a motorbike"  # start, a, photo, of, a, motor, bike, end
    assert align_terms(prompt_of(text, "motorbike"), tokenizer, max_length=8) == {"motorbike": (5, 6)}
    with pytest.raises(TokenAlignmentError, match="'motorbike' is truncated away"):
        align_terms(prompt_of(text, "motorbike"), tokenizer, max_length=7)


def test_a_surviving_mention_is_enough(tokenizer):
    prompt = Prompt("car of a photo of a car", (Term("car", 0, 3), Term("car", 20, 23)))
    assert align_terms(prompt, tokenizer, max_length=6) == {"car": (1,)}


def test_a_span_without_letters_gets_no_token(tokenizer):
    with pytest.raises(TokenAlignmentError) as error:
        align_terms(Prompt("a car", (Term("car", 1, 2),)), tokenizer)
    assert str(error.value) == (
        "class term 'car' gets no token: characters 1:2 of the prompt 'a car' are ' '; let the span cover the class name"
    )


def test_truncation_is_not_warned_about_twice(tokenizer, caplog):
    with pytest.raises(TokenAlignmentError):
        align_terms(prompt_of("a photo of a photo of a photo of a photo of a car", "car"), tokenizer)
    assert caplog.text == ""


class SlowTokenizer:
    """What transformers 4 loads for CLIP: no offsets."""

    is_fast = False
    model_max_length = 12

    def __init__(self, fast, shift=0):
        self.fast = fast
        self.shift = shift

    def __call__(self, text, **options):
        assert "return_offsets_mapping" not in options
        return {"input_ids": [token + self.shift for token in self.fast(text)["input_ids"]]}


def test_a_slow_tokenizer_is_read_through_its_fast_twin(tokenizer, monkeypatch):
    # By its module: transformers itself shows, once loaded, a function under the module's name.
    module = importlib.import_module("transformers.convert_slow_tokenizer")
    monkeypatch.setattr(module, "convert_slow_tokenizer", lambda slow: slow.fast.backend_tokenizer)
    prompt = prompt_of("a photo of a motorbike", "motorbike")
    assert align_terms(prompt, SlowTokenizer(tokenizer)) == {"motorbike": (5, 6)}
    with pytest.raises(TokenAlignmentError, match="SlowTokenizer has no character offsets and its fast twin reads"):
        align_terms(prompt, SlowTokenizer(tokenizer, shift=1))

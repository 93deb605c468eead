"""Text models of transformers, for prompts only: embeddings of captions, and captions that a language model writes."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.reference import TEXT_MODEL
from diffumask_datasets.models.weights import load_whole, readable_errors
from diffumask_datasets.prompts.balance import draw_classes
from diffumask_datasets.prompts.dealing import share_of
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.prompts.wording import fill, find_terms, noun
from diffumask_datasets.recipes.prompt_settings import LanguageModelPrompts
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import split_of
from diffumask_datasets.recipes.text import normalise

__all__ = ["LanguageModelSource", "embed"]

BATCH = 64
ATTEMPTS = 200
_END = re.compile(r"[\n.!?;:\"“”]")
_INSTRUCTION = "Write one caption of a real photograph, in one sentence, that goes on from these words: {lead}"


@model_lock
def embed(texts: Sequence[str], model: str, revision: str | None) -> npt.NDArray[np.float32]:
    """Embeds texts: the model's text features, or the mean of its last hidden states.

    Args:
        texts: The texts.
        model: The folder or Hub id of a checkpoint of transformers.
        revision: That of a Hub model.

    Returns:
        Unit vectors, float32 (texts, dimensions).

    Raises:
        ModelError: The checkpoint cannot be loaded, or has no features of texts.
    """
    import torch

    tokenizer, encoder = _loaded("AutoModel", model, revision)
    if encoder.config.is_encoder_decoder:
        encoder = encoder.get_encoder()
    parts = []
    with torch.inference_mode():
        for first in tqdm(range(0, len(texts), BATCH), desc="embedding captions", unit="batch", disable=None):
            try:
                parts.append(_features(encoder, _tokens(tokenizer, encoder, texts[first : first + BATCH])))
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                problem = " ".join(str(error).split())
                raise ModelError(
                    f"the model {model!r} gives no features of texts, choose a text encoder: {problem}"
                ) from error
    vectors = torch.nn.functional.normalize(torch.cat(parts).float(), dim=-1)
    unit: npt.NDArray[np.float32] = vectors.numpy()
    return unit


def _tokens(tokenizer: Any, encoder: Any, texts: Sequence[str]) -> Any:
    places = getattr(encoder.config.get_text_config(), "max_position_embeddings", None)
    # A model that is given no mask reads the padding too: all texts need the same.
    padding = True if "attention_mask" in tokenizer.model_input_names else "max_length"
    limit = min(tokenizer.model_max_length, places or tokenizer.model_max_length)
    return tokenizer(list(texts), padding=padding, truncation=True, max_length=limit, return_tensors="pt")


def _features(encoder: Any, batch: Any) -> Any:
    if hasattr(encoder, "get_text_features"):
        features = encoder.get_text_features(**batch)
        return getattr(features, "pooler_output", features)
    hidden = encoder(**batch).last_hidden_state  # (texts, tokens, dimensions)
    mask = batch["attention_mask"].unsqueeze(-1)
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


class LanguageModelSource:
    """Captions that a causal language model writes after the lead "a photo of a car"."""

    def __init__(self, recipe: Recipe, settings: LanguageModelPrompts) -> None:
        self._recipe = recipe
        self._settings = settings
        self._written = functools.lru_cache(maxsize=4096)(self._write)

    def prompt(self, index: int) -> Prompt:
        """Written until the text belongs to the split of ``index`` and names no class that was not asked for."""
        return self._written(index)

    def check(self, splits: Sequence[str]) -> None:
        """Raises ModelError where there is no language model. The class terms stand in the lead: every class has prompts."""
        _tokenizer(self._settings.model, self._settings.revision)

    @model_lock
    def _write(self, index: int) -> Prompt:
        names = draw_classes(self._recipe, index)
        words = [self._recipe.words_of(name) for name in names]
        for attempt in range(ATTEMPTS):
            rng = random.Random(f"{self._recipe.seed}/language/{index}/{attempt}")
            nouns = [noun(entry, term=rng.choice(entry.terms)) for entry in words]
            lead = fill(self._settings.lead, nouns)
            text = lead.text + self._continued(lead.text, rng)
            if share_of(text) == split_of(index) and {
                term.category for term in find_terms(text, self._recipe.words)
            } <= {*names}:
                return Prompt(text, _merged(lead.terms, find_terms(text, self._recipe.words)))
        raise RecipeError(
            f"{self._settings.model}: wrote no usable caption for {names} in {ATTEMPTS} attempts; raise temperature or top_k"
        )

    def _continued(self, lead: str, rng: random.Random) -> str:
        """What the model writes after the lead: the words up to the end of the sentence, a blank before them."""
        import torch

        settings = self._settings
        tokenizer, model = _loaded("AutoModelForCausalLM", settings.model, settings.revision)
        # A generator of our own: transformers' generate() draws from the global one.
        generator = torch.Generator().manual_seed(rng.getrandbits(63))
        written: list[int] = []
        step, past, text = _lead_tokens(tokenizer, lead), None, ""
        with torch.inference_mode():
            while len(text.split()) <= settings.max_words and len(written) < 8 * settings.max_words:
                output = model(input_ids=step, past_key_values=past, use_cache=True)
                likely = _likeliest(output.logits[0, -1], settings)
                step = likely.indices[torch.multinomial(likely.values.softmax(-1), 1, generator=generator)][None]
                past = output.past_key_values
                written.append(int(step))
                text = tokenizer.decode(written, skip_special_tokens=True)
                if written[-1] in tokenizer.all_special_ids or _END.search(text):
                    break
        words = normalise(_END.split(text)[0]).split()[: settings.max_words]
        return f" {' '.join(words)}" if words else ""


def _likeliest(logits: Any, settings: LanguageModelPrompts) -> Any:
    """Values and indices of the ``top_k`` tokens that may come next; logits (vocabulary,)."""
    return (logits.float() / settings.temperature).topk(min(settings.top_k, len(logits)))


def _lead_tokens(tokenizer: Any, lead: str) -> Any:
    """Token ids (1, tokens) after which the model goes on, within an answer where the model is made for conversation."""
    text, special = lead, True
    if getattr(tokenizer, "chat_template", None):
        asked = {"role": "user", "content": _INSTRUCTION.format(lead=lead)}
        answer = {"role": "assistant", "content": lead}
        text = tokenizer.apply_chat_template([asked, answer], tokenize=False, continue_final_message=True)
        special = False
    tokens = tokenizer(text, return_tensors="pt", add_special_tokens=special)["input_ids"]
    ends = tokenizer.eos_token_id is not None and tokens.shape[1] > 1 and int(tokens[0, -1]) == tokenizer.eos_token_id
    return tokens[:, :-1] if ends else tokens


@functools.lru_cache(maxsize=2)
def _loaded(kind: str, model: str, revision: str | None) -> tuple[Any, Any]:
    """The tokenizer and, by the class of transformers called ``kind``, the network."""
    import transformers

    tokenizer = _tokenizer(model, revision)
    with readable_errors(f"the text model {model!r}"):
        network = load_whole(
            getattr(transformers, kind),
            str(TEXT_MODEL.named(model).local or model),
            what=f"the text model {model!r}",
            use_safetensors=True,
            revision=revision or "main",
        )
    return tokenizer, network.eval()


@model_lock
def _tokenizer(model: str, revision: str | None) -> Any:
    import transformers

    place = str(TEXT_MODEL.named(model).local or model)
    with readable_errors(f"the text model {model!r}"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, revision=revision or "main")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _merged(lead: Sequence[Term], found: Sequence[Term]) -> tuple[Term, ...]:
    """The terms of the lead, then those that the continuation repeats."""
    end = max(term.end for term in lead)
    return (*lead, *(term for term in found if term.start >= end))

"""The UNet family on a tiny random pipeline of the real classes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch.overrides import _len_torch_function_stack

from diffumask_datasets.attention.alignment import align_terms
from diffumask_datasets.attention.fusion import fuse
from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.errors import CaptureError, ModelError, TokenAlignmentError
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.recipes.recipe import Recipe

CAR = Prompt("a photo of a red car", (Term("car", 17, 20),))
TWO = Prompt("a boat and a potted plant", (Term("boat", 2, 6), Term("potted plant", 13, 25)))
FINEST = "up_blocks.2.attentions.0.transformer_blocks.0.attn2"


def recipe(**fields):
    defaults = {"height": 64, "width": 64, "num_inference_steps": 2, "attention_grids": [8], "guidance_scale": 4.0}
    return Recipe.of(classes=["car", "boat"], model="tiny", **{**defaults, **fields})


def plain(diffusion_model, requests, recipe):
    """What the pipeline itself makes of the same batch."""
    images = diffusion_model.pipeline(
        prompt=[request.prompt.text for request in requests],
        height=recipe.height,
        width=recipe.width,
        num_inference_steps=recipe.num_inference_steps,
        guidance_scale=recipe.guidance_scale,
        negative_prompt=[recipe.negative_prompt] * len(requests),
        generator=[torch.Generator().manual_seed(request.seed) for request in requests],
        output_type="np",
    ).images
    return np.rint(images * 255).astype(np.uint8)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("fields", [{}, {"guidance_scale": 1.0}, {"negative_prompt": "boat", "width": 128}])
def test_capture_changes_no_pixel(diffusion_model, one_thread, fields):
    requests = [GenerationRequest(CAR, 1), GenerationRequest(TWO, 2)]
    outputs = diffusion_model.generate(requests, recipe(**fields))
    expected = plain(diffusion_model, requests, recipe(**fields))
    assert [output.image.tobytes() for output in outputs] == [image.tobytes() for image in expected]
    assert outputs[0].image.shape == (64, fields.get("width", 64), 3)
    assert outputs[0].attention.categories == ("car",)
    assert outputs[1].attention.categories == ("boat", "potted plant")


def test_negative_prompt_matters(diffusion_model):
    images = [
        diffusion_model.generate([GenerationRequest(CAR, 1)], recipe(negative_prompt=text))[0].image.tobytes()
        for text in ("", "boat")
    ]
    assert images[0] != images[1]


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 4.0])
def test_maps_equal_the_reference_processor(diffusion_model, guidance_scale):
    """Every layer and step recomputed by diffusers' own eager get_attention_scores."""
    fields = recipe(guidance_scale=guidance_scale, width=128)
    requests = [GenerationRequest(CAR, 1), GenerationRequest(TWO, 2)]
    columns = [align_terms(request.prompt, diffusion_model.pipeline.tokenizer) for request in requests]
    layers = diffusion_model._chosen_layers(fields)
    maps = {}

    class Eager(AttnProcessor):
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, **options):
            query = attn.head_to_batch_dim(attn.to_q(hidden_states))
            key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
            scores = attn.get_attention_scores(query, key).unflatten(0, (-1, attn.heads)).mean(dim=1)
            for image, scored in enumerate(scores[-len(requests) :]):
                for category, tokens in columns[image].items():
                    heat = scored[:, list(tokens)].mean(dim=1)
                    maps.setdefault((image, category), []).append((heat / heat.max()).reshape(8, 16))
            return super().__call__(attn, hidden_states, encoder_hidden_states, **options)

    modules = [diffusion_model.pipeline.unet.get_submodule(name) for name in layers]
    for module in modules:
        module.set_processor(Eager())
    try:
        plain(diffusion_model, requests, fields)
    finally:
        for module in modules:
            module.set_processor(AttnProcessor2_0())
    for image, output in enumerate(diffusion_model.generate(requests, fields)):
        assert output.attention.counts == {(8, 16): len(layers) * 2} == {(8, 16): 6}
        for index, category in enumerate(output.attention.categories):
            expected = torch.stack(maps[image, category]).mean(dim=0)
            torch.testing.assert_close(output.attention.grids[8, 16][index], expected, atol=1e-5, rtol=0)


@contextlib.contextmanager
def planted_attention(diffusion_model, names, rows, *, tokens, region):
    """Makes ``region`` attend to ``tokens[image]`` in the batch rows ``rows``, its complement in all others.

    Whatever does not attend there attends to the first token. Every one of the two heads does the same.
    """

    def plant_query(module, args, output):
        heads = torch.zeros_like(output).unflatten(2, (2, -1))
        for row, head in enumerate(heads):
            inside = (region if row in rows else ~region).flatten()
            head[inside, :, 1] = 50
            head[~inside, :, 0] = 50
        return heads.flatten(2)

    def plant_key(module, args, output):
        heads = torch.zeros_like(output).unflatten(2, (2, -1))
        heads[:, 0, :, 0] = 50
        for row, head in enumerate(heads):
            head[tokens[row % len(tokens)], :, 1] = 50
        return heads.flatten(2)

    unet = diffusion_model.pipeline.unet
    hooks = []
    for name in names:
        hooks.append(unet.get_submodule(name).to_q.register_forward_hook(plant_query))
        hooks.append(unet.get_submodule(name).to_k.register_forward_hook(plant_key))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(("guidance_scale", "rows"), [(4.0, [2, 3]), (1.0, [0, 1])])
@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64)])
def test_planted_region_lights_up(diffusion_model, guidance_scale, rows, height, width):
    fields = recipe(guidance_scale=guidance_scale, height=height, width=width)
    region = torch.zeros(height // 8, width // 8, dtype=torch.bool)
    region[1:3, 0:5] = True
    requests = [GenerationRequest(CAR, 1), GenerationRequest(Prompt("a red car", (Term("car", 6, 9),)), 2)]
    # start, a, photo, of, a, red, car: the car is token 6 of the first prompt and 3 of the second.
    with planted_attention(diffusion_model, diffusion_model._chosen_layers(fields), rows, tokens=[6, 3], region=region):
        outputs = diffusion_model.generate(requests, fields)
    for output in outputs:
        heat = output.attention.grids[height // 8, width // 8][0]
        assert torch.equal(heat > 0.5, region)
        fused = fuse(output.attention, height=height, width=width)[0]
        assert fused[12:20, 4:36].min() > 0.9
        assert fused[40:].max() < 0.05


def test_only_the_conditional_half_is_read(diffusion_model):
    """The planted halves are swapped: what lights up is the complement."""
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[0:2] = True
    with planted_attention(diffusion_model, diffusion_model._chosen_layers(recipe()), [0], tokens=[6], region=region):
        (output,) = diffusion_model.generate([GenerationRequest(CAR, 1)], recipe())
    assert torch.equal(output.attention.grids[8, 8][0] > 0.5, ~region)


def test_grids_and_timesteps_are_selected(diffusion_model):
    (output,) = diffusion_model.generate(
        [GenerationRequest(CAR, 1)],
        recipe(width=128, attention_grids=[8, 2], num_inference_steps=4, attention_timesteps=(0, 500)),
    )
    # 3 layers at 8x16 and 4 at 2x4 (with the middle block), 2 of the 4 timesteps 751, 501, 251, 1
    assert output.attention.counts == {(8, 16): 6, (2, 4): 8}


def test_bytes_depend_on_prompt_and_seed_alone(diffusion_model):
    """At one batch size: not on neighbours, row, number of threads or what ran before."""
    one, two, three = GenerationRequest(CAR, 1), GenerationRequest(TWO, 2), GenerationRequest(CAR, 3)

    def generated(*requests):
        return [
            (output.image.tobytes(), output.attention.grids[8, 8].numpy().tobytes())
            for output in diffusion_model.generate(requests, recipe())
        ]

    first = generated(one, two)
    assert generated(two, one) == first[::-1]
    assert generated(one, three)[0] == generated(one, one)[1] == first[0]
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        assert generated(one, two) == first
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)


def test_other_processors_are_native_during_capture_and_restored(diffusion_model):
    module = diffusion_model.pipeline.unet.get_submodule(FINEST)
    eager, own = AttnProcessor(), type("OwnProcessor", (AttnProcessor2_0,), {})()
    try:
        for processor in (eager, own):
            module.set_processor(processor)
            (output,) = diffusion_model.generate([GenerationRequest(CAR, 1)], recipe())
            assert output.attention.counts == {(8, 8): 6}
            assert module.processor is processor
    finally:
        module.set_processor(AttnProcessor2_0())


def test_unseen_attention_is_an_error(diffusion_model, monkeypatch):
    class Hidden(AttnProcessor):
        def __call__(self, *args, **kwargs):
            return super().__call__(*args, **kwargs)

    monkeypatch.setattr("diffumask_datasets.diffusion.attention_processors._SAME_RESULT", ())
    names = list(diffusion_model._chosen_layers(recipe()))
    modules = [diffusion_model.pipeline.unet.get_submodule(name) for name in names]
    for module in modules:
        module.set_processor(Hidden())
    try:
        with pytest.raises(CaptureError, match="no scaled_dot_product_attention call was seen in 3 attention layers"):
            diffusion_model.generate([GenerationRequest(CAR, 1)], recipe())
    finally:
        for module in modules:
            module.set_processor(AttnProcessor2_0())


def test_nothing_is_left_behind(diffusion_model, monkeypatch):
    def hooks():
        unet = diffusion_model.pipeline.unet
        return [
            len(module._forward_hooks) + len(module._forward_pre_hooks) for module in unet.modules()
        ], _len_torch_function_stack()

    clean = hooks()
    diffusion_model.generate([GenerationRequest(CAR, 1)], recipe())
    assert hooks() == clean
    assert sum(clean[0]) == clean[1] == 0

    def broken(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(diffusion_model.pipeline.unet.get_submodule(FINEST).to_v, "forward", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        diffusion_model.generate([GenerationRequest(CAR, 1)], recipe())
    assert hooks() == clean


def test_nan_is_an_error(diffusion_model, monkeypatch):
    decode = diffusion_model.pipeline.vae.decode
    monkeypatch.setattr(
        diffusion_model.pipeline.vae, "decode", lambda *args, **kwargs: (decode(*args, **kwargs)[0] * torch.nan,)
    )
    with pytest.raises(ModelError, match="the model generated NaN in 2 of 2 images; try dtype='float32'"):
        diffusion_model.generate([GenerationRequest(CAR, 1), GenerationRequest(CAR, 2)], recipe())


def test_truncated_term_is_refused_before_generating(diffusion_model):
    prompt = Prompt("a photo of a photo of a photo of a photo of a red car", (Term("car", 50, 53),))
    with pytest.raises(TokenAlignmentError, match=r"'car' is truncated away: .* has 17 tokens, this model reads 16"):
        diffusion_model.generate([GenerationRequest(prompt, 1)], recipe())


def test_empty_batch(diffusion_model):
    assert diffusion_model.generate([], recipe()) == []

"""What all families share: other backends, compiled, offloaded and quantised models, wrong declarations."""

from __future__ import annotations

from dataclasses import replace

import accelerate
import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend
from torch import nn
from torch.overrides import _len_torch_function_stack

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.attention_processors import native_attention
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.errors import CaptureError, ModelError, RecipeError, TokenAlignmentError
from diffumask_datasets.prompts.prompt import Prompt, Term
from tests.helpers.tiny_models.cases import CAR, CASES, REQUESTS

BY_MODEL = {case.model: case for case in CASES}
FLUX, PIXART, SD3 = BY_MODEL["flux"], BY_MODEL["pixart_alpha"], BY_MODEL["sd3"]
GRID = (4, 8)


def maps(diffusion_model, case, **fields):
    return [generated.attention.grids[GRID] for generated in diffusion_model.generate(REQUESTS, case.recipe(**fields))]


def assert_same(one, other, atol=0.0):
    for first, second in zip(one, other, strict=True):
        torch.testing.assert_close(first, second, atol=atol, rtol=0)


def test_another_backend_is_native_for_the_captured_layers_alone_and_restored():
    diffusion_model = FLUX.diffusion_model()
    plain = maps(diffusion_model, FLUX)
    with attention_backend("_native_math"):
        assert_same(maps(diffusion_model, FLUX), plain)
    seen = []
    blocks = diffusion_model.denoiser.transformer_blocks[0], diffusion_model.denoiser.single_transformer_blocks[0]
    hook = blocks[0].register_forward_hook(lambda *_: seen.extend(b.attn.processor._attention_backend for b in blocks))
    with attention_backend("native"):  # the next line is heard by every model, and taken back at the end of the block
        diffusion_model.denoiser.set_attention_backend("_native_math")
        with native_attention([blocks[0].attn]):
            diffusion_model._run(REQUESTS, FLUX.recipe())
    hook.remove()
    assert set(seen) == {AttentionBackendName.NATIVE, AttentionBackendName._NATIVE_MATH}
    assert_same(maps(diffusion_model, FLUX), plain)
    assert [block.attn.processor._attention_backend for block in blocks] == [AttentionBackendName._NATIVE_MATH] * 2


@pytest.mark.parametrize("whole", [True, False])
def test_a_compiled_denoiser_is_read_as_written(whole):
    diffusion_model = PIXART.diffusion_model()
    plain = maps(diffusion_model, PIXART)
    if whole:
        diffusion_model.pipeline.transformer = torch.compile(diffusion_model.pipeline.transformer, backend="eager")
    else:
        diffusion_model.pipeline.transformer.transformer_blocks[0].compile(backend="eager")
    diffusion_model.check(PIXART.recipe())
    assert_same(maps(diffusion_model, PIXART), plain)


def test_a_compiled_denoiser_is_refused_where_torch_cannot_pause_it(monkeypatch):
    diffusion_model = PIXART.diffusion_model()
    diffusion_model.pipeline.transformer.transformer_blocks[0].compile(backend="eager")
    monkeypatch.delattr(torch.compiler, "set_stance")
    with pytest.raises(CaptureError, match="a compiled denoiser hides its attention before torch"):
        maps(diffusion_model, PIXART)


def test_an_offloaded_denoiser():
    diffusion_model = FLUX.diffusion_model()
    plain = maps(diffusion_model, FLUX)
    accelerate.cpu_offload(diffusion_model.pipeline.transformer, torch.device("cpu"))
    assert diffusion_model.denoiser.x_embedder.weight.device.type == "meta"
    assert_same(maps(diffusion_model, FLUX), plain)


def test_a_quantised_denoiser():
    diffusion_model = SD3.diffusion_model()
    plain = maps(diffusion_model, SD3)
    torch.ao.quantization.quantize_dynamic(diffusion_model.denoiser, {nn.Linear}, inplace=True)
    quantised = maps(diffusion_model, SD3)
    assert_same(quantised, plain, atol=0.2)
    assert not all(torch.equal(one, other) for one, other in zip(quantised, plain, strict=True))


def test_half_precision():
    diffusion_model = FLUX.diffusion_model()
    plain = maps(diffusion_model, FLUX)
    diffusion_model.pipeline.to(torch.bfloat16)
    assert_same(maps(diffusion_model, FLUX), plain, atol=0.1)


def test_timesteps_are_those_of_training_whatever_the_denoiser_is_given():
    """FLUX gets sigmas in [0, 1], Lumina 1 - sigma: both recorders count in 0 to 1000."""
    for model in ("flux", "lumina2"):
        case = BY_MODEL[model]
        diffusion_model = case.diffusion_model()
        counts = [
            diffusion_model.generate(REQUESTS, case.recipe(num_inference_steps=4, attention_timesteps=steps))[
                0
            ].attention.counts
            for steps in ((0, 1000), (999, 1000))
        ]
        assert counts[0][GRID] == 4 * counts[1][GRID]
        with pytest.raises(CaptureError, match=r"attention_timesteps \[0, 1\] holds none of the timesteps that ran \("):
            diffusion_model.generate(REQUESTS, case.recipe(attention_timesteps=(0, 1)))


@pytest.mark.parametrize(
    ("model", "fields", "error", "message"),
    [
        (
            "flux",
            {"negative_prompt": "rain"},
            RecipeError,
            "negative_prompt: FLUX.1 has no negative prompt; leave it out",
        ),
        (
            "pixart_alpha",
            {"attention_timesteps": (0, 0)},
            RecipeError,
            r"attention_timesteps \[0, 0\] holds none of the 2",
        ),
        ("pixart_alpha", {"num_inference_steps": 1000}, None, ""),
        ("flux", {"attention_grids": [16]}, CaptureError, "attention_grids .16.; this model at this size has 4"),
        ("flux", {"attention_layers": ["down.*"]}, CaptureError, "no cross-attention layer fits attention_layers"),
        ("sdxl", {"contrast": "start"}, None, ""),
        (
            "sd3",
            {"affinity": "self-attention", "affinity_grids": [8]},
            CaptureError,
            r"no self-attention to propagate by on affinity_grids \[8\]; this model at this size has 4",
        ),
    ],
)
def test_check_refuses_before_any_work(model, fields, error, message):
    diffusion_model, recipe = BY_MODEL[model].diffusion_model(), BY_MODEL[model].recipe(**fields)
    if error is None:
        diffusion_model.check(recipe)
        return
    with pytest.raises(error, match=message):
        diffusion_model.check(recipe)


def test_joint_attention_is_computed_once_for_both_recorders(monkeypatch):
    def again(*args):
        raise AssertionError("computed a second time")

    monkeypatch.setattr("diffumask_datasets.attention.affinity.mean_attention", again)
    (generated, _) = FLUX.diffusion_model().generate(REQUESTS, FLUX.recipe(affinity="self-attention"))
    torch.testing.assert_close(generated.attention.affinities[GRID].sum(dim=1), torch.ones(32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_argument": "pooled_projections"}, "no call of the transformer of FluxPipeline was given the text"),
        ({"layout": Layout("text first", packed=True, registers=600)}, "correct the layout of the model's family"),
    ],
)
def test_wrong_declarations_are_found_out(changes, message):
    diffusion_model = FLUX.diffusion_model()
    wrong = DiffusersModel(diffusion_model.pipeline, replace(FLUX.family, **changes))
    with pytest.raises(CaptureError, match=message):
        wrong.generate(REQUESTS, FLUX.recipe())


def test_nothing_is_left_behind(monkeypatch):
    diffusion_model = SD3.diffusion_model()

    def broken(*args, **kwargs):
        raise RuntimeError("out of memory")

    for fails in (False, True):
        if fails:
            monkeypatch.setattr(diffusion_model.denoiser.transformer_blocks[1].attn.to_v, "forward", broken)
            with pytest.raises(RuntimeError, match="out of memory"):
                maps(diffusion_model, SD3)
        else:
            maps(diffusion_model, SD3)
        assert not any(
            module._forward_hooks or module._forward_pre_hooks for module in diffusion_model.denoiser.modules()
        )
        assert not {"encode_prompt", "step"} & (
            set(vars(diffusion_model.pipeline)) | set(vars(diffusion_model.pipeline.scheduler))
        )
        assert _len_torch_function_stack() == 0


def test_nan_and_empty_batches():
    diffusion_model = PIXART.diffusion_model()
    assert diffusion_model.generate([], PIXART.recipe()) == []
    diffusion_model.denoiser.proj_out.bias.data.fill_(torch.nan)
    with pytest.raises(ModelError, match="the model generated NaN in 2 of 2 images"):
        maps(diffusion_model, PIXART)


def test_prompts_are_refused_before_anything_is_generated():
    diffusion_model = PIXART.diffusion_model()
    diffusion_model.check_prompts([CAR])
    late = Prompt("a " * 150 + "car", (Term("car", 300, 303),))
    with pytest.raises(TokenAlignmentError, match=r"'car' is truncated away: .* this model reads 120"):
        diffusion_model.check_prompts(iter([CAR, late]))

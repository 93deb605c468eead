"""Every network of a pipeline, and every LoRA, has its weights from a file, or is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from diffumask_datasets.diffusion.pipelines import load_pipeline
from diffumask_datasets.errors import ModelError
from diffumask_datasets.recipes.settings import LoadSettings
from tests.helpers.tiny_models import models
from tests.helpers.tiny_models.single_file import single_file

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("sd")
    models.built("sd1").save_pretrained(path)
    return path


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def rewrite(file: Path, change: Callable[[Weights], object]) -> None:
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def file_of(part: Path) -> Path:
    (file,) = part.glob("*.safetensors")
    return file


NAMES = {
    "unet": "conv_in.weight",
    "vae": "decoder.conv_in.weight",
    "text_encoder": "final_layer_norm.weight",
}


@pytest.mark.parametrize("part", NAMES)
def test_a_weight_is_missing(folder: Path, part: str) -> None:
    rewrite(file_of(folder / part), lambda weights: weights.pop(NAMES[part]))
    with pytest.raises(ModelError) as error:
        load_pipeline(str(folder), device="cpu")
    assert f"the weights do not fit the {part}: 1 missing ({NAMES[part]}); " in str(error.value)


@pytest.mark.parametrize("part", NAMES)
def test_a_weight_has_another_shape(folder: Path, part: str) -> None:
    rewrite(file_of(folder / part), lambda weights: weights.update({NAMES[part]: weights[NAMES[part]][:1].clone()}))
    with pytest.raises(ModelError) as error:
        load_pipeline(str(folder), device="cpu")
    assert f"the weights do not fit the {part}: 1 of another shape ({NAMES[part]}); " in str(error.value)


@pytest.mark.parametrize("part", NAMES)
def test_a_damaged_file_is_no_reason_for_pickles(folder: Path, part: str) -> None:
    file = file_of(folder / part)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match=part) as error:
        load_pipeline(str(folder), device="cpu")
    assert "pickle" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_of_the_hub_is_checked_too(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "models--me--model"
    snapshot = Path(shutil.copytree(saved, place / "snapshots" / commit))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loaded = load_pipeline("me/model", device="cpu").text_encoder.state_dict()
    stored = load_file(file_of(snapshot / "text_encoder"))
    assert all(torch.equal(weight, loaded[name]) for name, weight in stored.items())
    rewrite(file_of(snapshot / "text_encoder"), lambda weights: weights.pop(NAMES["text_encoder"]))
    with pytest.raises(
        ModelError, match=r"cannot load the model 'me/model': the weights do not fit the text_encoder: 1 missing"
    ):
        load_pipeline("me/model", revision=commit, device="cpu")


def test_no_weights_have_the_variant(folder: Path) -> None:
    with pytest.raises(ModelError, match="it has no weights of the variant 'fp16'; leave variant out"):
        load_pipeline(str(folder), device="cpu", options=LoadSettings(variant="fp16"))


def test_parts_of_other_libraries_are_not_run(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index["text_encoder"] = ["own_encoder", "Encoder"]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "text_encoder" / "own_encoder.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    with pytest.raises(
        ModelError, match=r"the text_encoder of the model is own_encoder\.Encoder, neither of diffusers"
    ):
        load_pipeline(str(folder), device="cpu")
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", ["UNet2DConditionModel", "loaders", "__version__"])
def test_the_class_of_the_index_is_a_pipeline(folder: Path, name: str) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(ModelError, match=f"names {name}, which is no pipeline class of diffusers"):
        load_pipeline(str(folder), device="cpu")


@pytest.mark.parametrize("name", [7, None, {}, [], ["a", 3], ["a", "b", "c"]])
def test_the_class_of_the_index_is_a_name(folder: Path, name: object) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(ModelError, match="its _class_name is no name of a class"):
        load_pipeline(str(folder), device="cpu")


def test_a_single_file_lacks_a_weight(folder: Path, tmp_path: Path) -> None:
    weights = single_file(load_pipeline(str(folder), device="cpu"))
    file = tmp_path / "tuned.safetensors"
    for name, (part, missing) in {
        "model.diffusion_model.input_blocks.0.0.weight": ("UNet2DConditionModel", "conv_in.weight"),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": ("CLIPTextModel", "final_layer_norm.weight"),
    }.items():
        save_file({key: weight for key, weight in weights.items() if key != name}, file)
        with pytest.raises(ModelError) as error:
            load_pipeline(str(folder), device="cpu", options=LoadSettings(checkpoint=str(file)))
        assert f"do not fit the {part} of the checkpoint: 1 missing ({missing}); " in str(error.value)


def test_what_a_single_file_leaves_to_the_folder(folder: Path, tmp_path: Path) -> None:
    pipeline = load_pipeline(str(folder), device="cpu")
    weights = {name: weight for name, weight in single_file(pipeline).items() if "cond_stage_model" not in name}
    file, options = tmp_path / "tuned.safetensors", LoadSettings(checkpoint=str(tmp_path / "tuned.safetensors"))
    save_file(weights, file)
    loaded = load_pipeline(str(folder), device="cpu", options=options)
    name = "final_layer_norm.weight"
    assert torch.equal(loaded.text_encoder.state_dict()[name], pipeline.text_encoder.state_dict()[name])
    rewrite(file_of(folder / "text_encoder"), lambda held: held.pop(name))
    with pytest.raises(
        ModelError, match=r"the weights do not fit the text_encoder: 1 missing \(final_layer_norm\.weight\)"
    ):
        load_pipeline(str(folder), device="cpu", options=options)


def test_a_damaged_single_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tuned.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"cannot read the checkpoint '.*tuned\.safetensors', get it anew"):
        load_pipeline(str(folder), device="cpu", options=LoadSettings(checkpoint=str(tmp_path / "tuned.safetensors")))


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    pipeline = models.built("sd1")
    torch.manual_seed(0)
    pipeline.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False))
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=get_peft_model_state_dict(pipeline.unet))
    return file_of(tmp_path)


QUERY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda weights: weights.update({f"{QUERY}.lora_C.weight": weights.pop(f"{QUERY}.lora_A.weight")}),
            rf"belong to nothing in the model \({QUERY}.lora_C.weight\), it lacks 1 weights",
        ),
        (lambda weights: weights.pop(f"{QUERY}.lora_A.weight"), rf"it lacks 1 weights \({QUERY}.lora_A"),
        (
            lambda weights: weights.update(
                {QUERY.replace("to_q", f"to_z.lora_{side}.weight"): torch.ones(2, 2) for side in "AB"}
            ),
            "2 of its weights belong to nothing",
        ),
        (lambda weights: weights.clear() or weights.update(a=torch.ones(1)), "does not fit the model: Invalid LoRA"),
    ],
)
def test_a_lora_that_does_not_fit(folder: Path, lora: Path, change: Callable[[Weights], object], problem: str) -> None:
    load_pipeline(str(folder), device="cpu", options=LoadSettings(lora=str(lora)))
    rewrite(lora, change)
    with pytest.raises(ModelError, match=f"the LoRA .*{problem}"):
        load_pipeline(str(folder), device="cpu", options=LoadSettings(lora=str(lora)))

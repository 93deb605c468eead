"""Every segmenter of transformers behind two functions: its loss on a batch, and its score of each class at each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    Mask2FormerConfig,
    PretrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    SegformerConfig,
    SwinConfig,
    UperNetConfig,
)

from diffumask_datasets.errors import ModelError, suggestion
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.weights import load_trunk, load_whole
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.tuned import load_for_tuning

__all__ = [
    "HEADS",
    "SMALL",
    "UNIVERSAL",
    "build_model",
    "check_model",
    "class_names",
    "inputs_of",
    "load_model",
    "probabilities",
    "scores",
]

UNIVERSAL = ("mask2former", "maskformer", "eomt", "eomt_dinov3")
"""Families that take one mask per class instead of a map of class ids."""

_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _segformer() -> PretrainedConfig:
    return SegformerConfig(
        depths=[2, 2, 2, 2],
        hidden_sizes=[32, 64, 128, 160],
        num_attention_heads=[1, 2, 4, 5],
        decoder_hidden_size=128,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
    )


def _mask2former() -> PretrainedConfig:
    backbone = SwinConfig(
        embed_dim=32, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=4, out_features=_STAGES
    )
    return Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=64,
        mask_feature_size=64,
        hidden_dim=64,
        encoder_feedforward_dim=128,
        dim_feedforward=128,
        encoder_layers=2,
        decoder_layers=4,
        num_attention_heads=4,
        num_queries=32,
        train_num_points=1024,
    )


def _upernet() -> PretrainedConfig:
    # Batch norm and strided convolutions learn from a few hundred images what ConvNeXt needs many times as many for.
    backbone = ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 96, 128],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=_STAGES,
    )
    return UperNetConfig(backbone_config=backbone, hidden_size=64, pool_scales=[1, 2], use_auxiliary_head=False)


SMALL = {"segformer-small": _segformer, "mask2former-small": _mask2former, "upernet-small": _upernet}
"""Small configs, trained from scratch on a laptop."""


HEADS = {"mask2former": Mask2FormerConfig, "upernet": UperNetConfig}
"""Families that take a pretrained backbone of four stages: ``mask2former+microsoft/resnet-50``."""


@model_lock
def build_model(
    name: str, classes: Sequence[str], *, from_scratch: bool = False, options: Mapping[str, Any] | None = None
) -> PreTrainedModel:
    """Builds a model.

    Args:
        name: One of :data:`SMALL`, a family of :data:`HEADS` with a pretrained backbone (``upernet+BACKBONE``), or a
            checkpoint, whose head is new where its classes are others; a warning names what is new.
        classes: Its classes, in the order of their ids.
        from_scratch: Leave the weights random.
        options: Fields of its config.

    Returns:
        The model.

    Raises:
        ModelError: No such model, a family that takes other inputs, an option that its config does not have, or weights that
            do not fit.
    """
    config, backbone = check_model(name, options), name.partition("+")[2]
    _name_classes(config, classes)
    try:
        if name in SMALL or from_scratch or backbone:
            model = _family(config).from_config(config)
        else:
            model = load_for_tuning(_family(config), name, config)
        if backbone and not from_scratch:
            _load_backbone(model, backbone, config.backbone_config)
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, TypeError, LookupError) as error:
        raise ModelError(f"cannot build the model {name!r}: {' '.join(str(error).split()[:30])}") from error
    assert isinstance(model, PreTrainedModel)
    return model


@model_lock
def check_model(name: str, options: Mapping[str, Any] | None = None) -> PretrainedConfig:
    """The config of a model with its options set: finds a wrong name before hours go into the data.

    Raises:
        ModelError: no such model, a family that takes other inputs, or an option that its config does not have.
    """
    family, _, backbone = name.partition("+")
    if backbone and family not in HEADS:
        raise ModelError(f"{name!r}: only {', '.join(HEADS)} take a backbone, as in mask2former+microsoft/resnet-50")
    config = _config_with_backbone(family, backbone) if backbone else _config_of(name)
    _check_family(config, name)
    for option, value in (options or {}).items():
        if not hasattr(config, option):
            raise ModelError(f"{name}: its config has no {option!r}{suggestion(option, config.to_dict())}")
        setattr(config, option, value)
    return config


def _name_classes(config: PretrainedConfig, classes: Sequence[str]) -> None:
    config.id2label = dict(enumerate(classes))
    config.label2id = {label: number for number, label in enumerate(classes)}
    if config.model_type not in UNIVERSAL:
        # Families call it one or the other.
        config.semantic_loss_ignore_index = config.loss_ignore_index = IGNORE


def _config_with_backbone(family: str, backbone: str) -> PretrainedConfig:
    try:
        inner = AutoConfig.from_pretrained(backbone, out_features=_STAGES)
    except (OSError, ValueError) as error:
        raise ModelError(f"no backbone {backbone!r} with four stages: give a Hub id or a folder") from error
    config = HEADS[family](backbone_config=inner)
    if family == "upernet":
        config.auxiliary_in_channels = AutoBackbone.from_config(inner).channels[-2]
    return config


def _load_backbone(model: Any, backbone: str, config: PretrainedConfig) -> None:
    encoder = model.backbone if hasattr(model, "backbone") else model.model.pixel_level_module.encoder
    trunk = load_trunk(backbone, config, what=f"the backbone {backbone!r}")
    encoder.load_state_dict(trunk.state_dict())


def load_model(name: str) -> PreTrainedModel:
    """A trained segmenter, ready to predict, with every weight from its file.

    Raises:
        ModelError: no such model, a family that takes other inputs, or weights that do not fit it.
    """
    config = _config_of(name)
    _check_family(config, name)
    try:
        model = load_whole(_family(config), name, what=f"the model {name!r}")
    except ModelError:
        raise
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the model {name!r}: {str(error).splitlines()[0]}") from error
    assert isinstance(model, PreTrainedModel)
    return model.eval()


def class_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Class names in the order of the ids that :func:`scores` has."""
    labels: Mapping[int, str] = model.config.id2label
    return tuple(labels[number] for number in sorted(labels))


def inputs_of(model_type: str, pixels: Tensor, labels: Tensor) -> dict[str, Any]:
    """Gives what a model takes to compute its loss.

    Args:
        model_type: Its family.
        pixels: (N, 3, H, W).
        labels: int64 (N, H, W), 255 ignored.

    Returns:
        The arguments of its call.
    """
    if model_type not in UNIVERSAL:
        return {"pixel_values": pixels, "labels": labels}
    visible = [torch.unique(label[label != IGNORE]) for label in labels]
    masks = [(label == found.view(-1, 1, 1)).float() for label, found in zip(labels, visible, strict=True)]
    return {"pixel_values": pixels, "mask_labels": masks, "class_labels": visible}


def scores(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    """Score of each class at each pixel (N, classes, height, width), at the model's own grid; the greatest wins."""
    outputs = model(pixel_values=pixels)
    if model.config.model_type not in UNIVERSAL:
        logits: Tensor = outputs.logits
        return logits
    # Each query votes for its classes where its mask lies; the last class is "no object".
    votes = outputs.class_queries_logits.softmax(dim=-1)[..., :-1]  # (N, queries, classes)
    return torch.einsum("nqc,nqhw->nchw", votes, outputs.masks_queries_logits.sigmoid())


def probabilities(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    """:func:`scores` as probabilities: none is negative and each pixel's sum to 1."""
    found = scores(model, pixels)
    if model.config.model_type not in UNIVERSAL:
        return found.softmax(dim=1)
    return found / found.sum(dim=1, keepdim=True).clamp(min=torch.finfo(found.dtype).tiny)


def _config_of(name: str) -> PretrainedConfig:
    if name in SMALL:
        return SMALL[name]()
    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        known = ", ".join(SMALL)
        raise ModelError(
            f"no model {name!r}{suggestion(name, SMALL)}: give {known}, a Hub id or a folder with a config.json"
        ) from error
    assert isinstance(config, PretrainedConfig)
    return config


def _family(config: PretrainedConfig) -> Any:
    return AutoModelForUniversalSegmentation if config.model_type in UNIVERSAL else AutoModelForSemanticSegmentation


def _check_family(config: PretrainedConfig, name: str) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES as SEMANTIC

    if config.model_type not in UNIVERSAL and config.model_type not in SEMANTIC:
        known = ", ".join(sorted({*UNIVERSAL, *SEMANTIC}))
        raise ModelError(f"{name!r} is a {config.model_type}, which segments nothing here; known families: {known}")

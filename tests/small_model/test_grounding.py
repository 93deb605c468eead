"""Attention is taught to tell classes apart by what captions name, and by captions alone that the network was not given."""

from __future__ import annotations

import math

import pytest
import torch

from diffumask_datasets.errors import ModelError
from examples.small_model.grounding import DECIDED, Grounding, partial_label_loss
from examples.small_model.latents import Encoded, LatentPool
from examples.small_model.optimizers import MatrixDescent
from examples.small_model.run import Run, Settings
from examples.small_model.text import caption_tokens, new_text
from examples.small_model.train import _classes
from examples.small_model.unet import UNetDenoiser

CAPTIONS = ["a photo of sky and roadway", "a photo of road", "a view of nothing", "sky, car and road"]
CLASSES = (("sky",), ("road", "roadway"), ("car",))


def denoiser() -> tuple[UNetDenoiser, Grounding]:
    torch.manual_seed(0)
    tokenizer, text = new_text(CAPTIONS, layers=0)
    net = UNetDenoiser(text, size="tiny", channels=4, side=8)
    return net, Grounding(CLASSES, tokenizer, net.unet)


def test_no_place_shows_what_a_caption_leaves_out() -> None:
    chances = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]])
    # One or the other place: 1/2 and 1/4; of a single class no place tells anything.
    one = partial_label_loss(chances, torch.tensor([[True, False, False]]))
    assert one.item() == pytest.approx((math.log(2) + math.log(4)) / 2, abs=1e-4)
    # Of all three nothing is left out; the image as a whole is torn by 1.0822 nats, each place by 1.0397.
    every = partial_label_loss(chances, torch.tensor([[True, True, True]]))
    assert every.item() == pytest.approx(-DECIDED * (1.0822 - 1.0397), abs=1e-3)


def test_places_that_decide_for_different_classes_are_best() -> None:
    both = torch.tensor([[True, True]])
    decided = partial_label_loss(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), both)
    torn = partial_label_loss(torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]), both)
    one_alone = partial_label_loss(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), both)
    assert decided.item() == pytest.approx(-DECIDED * math.log(2), abs=1e-4)
    assert torn.item() == pytest.approx(0.0, abs=1e-4)
    assert one_alone.item() == pytest.approx(0.0, abs=1e-4)


def test_classes_are_named_by_any_of_their_words() -> None:
    tokenizer, _ = new_text(CAPTIONS, layers=0)
    _, grounding = denoiser()
    assert grounding.present(caption_tokens(CAPTIONS, tokenizer)).tolist() == [
        [True, True, False],
        [False, True, False],
        [False, False, False],
        [True, True, True],
    ]


def test_a_network_learns_where_a_class_is_from_captions() -> None:
    """The upper half of an image is bright where its caption names the sky, else the road is all of it."""
    tokenizer, text = new_text(CAPTIONS, layers=0)
    torch.manual_seed(0)
    net = UNetDenoiser(text, size="tiny", channels=4, side=8)
    net.ground(CLASSES, tokenizer)
    latents = torch.full((2, 4, 8, 8), -1.0)
    latents[0, :, :4] = 1.0
    tokens = caption_tokens(["sky, road", "road"], tokenizer)
    optimizer, generator = MatrixDescent(net), torch.Generator().manual_seed(0)  # type: ignore[arg-type]
    losses = []
    for _ in range(40):
        loss = net.loss(latents, tokens, generator, words_only=0.0, withheld=torch.tensor([True, True]))
        losses.append(loss.item())
        optimizer.descend(loss, 3e-3)
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_in_place_of_a_withheld_caption_the_network_reads_all_classes() -> None:
    tokenizer, _ = new_text(CAPTIONS, layers=0)
    _, grounding = denoiser()
    asked = tokenizer.decode(grounding.ask(torch.Generator().manual_seed(0)), skip_special_tokens=True).split()
    assert len(asked) == 3
    assert {"sky", "car"} < set(asked) <= {"sky", "car", "road", "roadway"}


def test_a_caption_that_was_given_or_names_nothing_teaches_nothing() -> None:
    tokenizer, text = new_text(CAPTIONS, layers=0)
    torch.manual_seed(0)
    net = UNetDenoiser(text, size="tiny", channels=4, side=8)
    latents, tokens = torch.zeros(2, 4, 8, 8), caption_tokens([CAPTIONS[2], CAPTIONS[0]], tokenizer)

    def loss(withheld: list[bool]) -> float:
        generator = torch.Generator().manual_seed(0)
        return net.loss(latents, tokens, generator, words_only=0.0, withheld=torch.tensor(withheld)).item()

    without = loss([False, False])
    net.ground(CLASSES, tokenizer)
    assert without != loss([False, True])


def test_words_that_no_caption_has_are_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer, text = new_text(CAPTIONS, layers=0)
    net = UNetDenoiser(text, size="tiny", channels=4, side=8)
    grounding = Grounding((*CLASSES, ("tram", "traffic light")), tokenizer, net.unet)
    assert caplog.messages == [
        "tram or traffic light: no caption has it as a single word, so attention is not taught it"
    ]
    assert grounding.present(caption_tokens(CAPTIONS[:1], tokenizer)).tolist() == [[True, True, False]]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((("sky",), ("traffic light",)), "captions name 1 of the classes by a single word"),
        (tuple((f"c{number}",) for number in range(31)), "31 classes: attention is taught to tell at most 30 apart"),
    ],
)
def test_classes_that_cannot_be_taught_are_told(classes: tuple[tuple[str, ...], ...], message: str) -> None:
    tokenizer, text = new_text(CAPTIONS, layers=0)
    net = UNetDenoiser(text, size="tiny", channels=4, side=8)
    with pytest.raises(ModelError, match=message):
        net.ground(classes, tokenizer)


def test_classes_are_given_as_everywhere_else() -> None:
    assert _classes(None) == ()
    assert _classes("sky,road") == (("sky",), ("road",))
    assert _classes("voc:dog,sofa")[0][0] == "dog"


def run_with(**settings: object) -> Run:
    torch.manual_seed(0)
    tokenizer, text = new_text(CAPTIONS, layers=0)
    pool = LatentPool(Encoded(torch.zeros(4, 4, 8, 8), [[caption] for caption in CAPTIONS]), tokenizer)
    return Run(Settings("unet", "tiny", steps=4, batch=4, **settings), pool, tokenizer, text)  # type: ignore[arg-type]


def test_attention_is_taught_from_a_step_on() -> None:
    plain, late = run_with(), run_with(classes=CLASSES, classes_from=2)
    assert [late.train_step().item() for _ in range(2)] == [plain.train_step().item() for _ in range(2)]
    assert late.train_step().item() != plain.train_step().item()


def test_what_is_yet_to_be_taught_may_change() -> None:
    plain = run_with()
    plain.train_step()
    saved = plain.state()
    for name in ("classes", "classes_from"):  # as in checkpoints from before
        del saved["settings"][name]
    run_with().restore(saved)
    run_with(classes=CLASSES, classes_from=1).restore(saved)
    with pytest.raises(ModelError, match=r"classes \(\) \(not"):
        run_with(classes=CLASSES).restore(saved)

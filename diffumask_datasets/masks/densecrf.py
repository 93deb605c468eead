"""DenseCRF refinement (Krähenbühl & Koltun 2011) through pydensecrf, with the lattice built once per image.

Mean field alone may leave the heat maps behind: it wipes out what is small, and floods what looks alike. Refinement that is
given the heat maps holds on to them: a mask, blurred as attention is, has to explain its heat map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from diffumask_datasets.errors import MissingDependencyError, ShapeError
from diffumask_datasets.masks.working_size import enlarge, working_size
from diffumask_datasets.sample import check_array

__all__ = [
    "PAPER_PARAMETERS",
    "SEVERAL_CLASSES",
    "DenseCrf",
    "DenseCrfParameters",
    "default_parameters",
    "refine",
    "refine_as_in_the_paper",
    "unexplained_heat",
]

_REFERENCE_SIDE = 512
_SMALLEST_PROBABILITY = 1e-5

_SETTLED = 1e-3
"""Mean field has converged where a step moves less than this share of a pixel's probability, in the mean. Ten times less
costs a fifth more time, for the same IoU to the fourth digit on drawn scenes of 512 x 512 pixels."""

_HEAT_SIDE = 64
"""Masks are compared with heat maps on about this many pixels squared."""

_HEAT_BLUR = 0.05
"""Standard deviation of attention's blur, as a share of the image's side; masks are compared with heat after as much."""

_LEAST_SLOPE = 0.1
"""The least heat that a pixel of the object is taken to add to its surroundings, where a mask explains hardly any."""

_FREE_STEPS = 2
"""Mean-field steps before masks are compared with heat: the first are as blurred as the heat itself."""


@dataclass(frozen=True, slots=True)
class DenseCrfParameters:
    """Pairwise terms and mean-field steps.

    Positions (``*_sxy``) are standard deviations in pixels of a 512x512 image and scale with sqrt(height * width) / 512;
    ``bilateral_srgb`` is one in colour levels of 0..255. ``*_compat`` weigh the Potts penalty of two labels.
    ``position_compat`` is subtracted from the bilateral term, over positions alone: what is left is the evidence of colour
    *beyond* that of being near. Without it (the paper's 0), a bilateral term that is strong enough to find an edge also
    wipes out whatever is thinner than its reach, and shreds textured objects on photographs.
    ``heat_weight`` is what a pixel's log-odds gain for each object's worth of heat that the mask leaves unexplained there.
    ``iterations`` is the most mean-field steps; fewer are taken where they no longer change anything.

    The defaults were chosen on half of the photographs of ``make bench-photos`` and on drawn scenes alike.
    """

    gaussian_sxy: float = 3.0
    gaussian_compat: float = 3.0
    bilateral_sxy: float = 60.0
    bilateral_srgb: float = 13.0
    bilateral_compat: float = 8.0
    position_compat: float = 3.0
    heat_weight: float = 14.0
    iterations: int = 10

    @property
    def temperature(self) -> float:
        """How many votes a pixel hears, its own and its neighbours': divides refined log-odds back to the unary's scale."""
        return 1.0 + self.gaussian_compat + self.bilateral_compat + self.position_compat


SEVERAL_CLASSES = DenseCrfParameters(bilateral_compat=10.0, heat_weight=8.0)
"""For images of several classes: heat is less to be trusted, because it lies on the other classes too, and colour parts them
better. The defaults give two points less on drawn scenes with several objects."""

PAPER_PARAMETERS = DenseCrfParameters(bilateral_sxy=80.0, bilateral_compat=10.0, position_compat=0.0, heat_weight=0.0)
"""Those of DiffuMask's released code (Krähenbühl & Koltun's example values)."""


def default_parameters(labels: int) -> DenseCrfParameters:
    """Our parameters for an image of that many labels, background included."""
    return SEVERAL_CLASSES if labels > 2 else DenseCrfParameters()


class DenseCrf:
    """A fully connected CRF over the pixels of one image: built once, then run for as many unaries as wanted.

    Args:
        image: uint8 (height, width, 3) RGB.
        labels: number of labels, background included; at least 2.
        parameters: pairwise terms; :func:`default_parameters` where none are given.

    Raises:
        ShapeError: an image of the wrong shape or dtype, or fewer than two labels.
        MissingDependencyError: pydensecrf is not installed.
    """

    def __init__(
        self, image: npt.NDArray[np.uint8], labels: int = 2, *, parameters: DenseCrfParameters | None = None
    ) -> None:
        height, width, _ = check_array("image", image, shape=("height", "width", 3), dtype="uint8")
        if labels < 2:
            raise ShapeError(f"labels: expected at least 2 (background and a class), got {labels}")
        self._shape = (labels, height, width)
        self._parameters = parameters or default_parameters(labels)
        self._crf = _build(image, labels, self._parameters)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self._shape[1:]

    def refine(
        self, probabilities: npt.NDArray[np.float32], heat_maps: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Refined label probabilities, float32 (labels, height, width), from unary ones of the same shape.

        Both sum to 1 over the labels. ``heat_maps``, float32 (labels - 1, height, width) in [0, 1], are those of the labels
        after the background; where they are given, each label's mask is held to what it can explain of its heat map.
        The object keeps no memory of earlier calls.

        Raises:
            ShapeError: another shape or dtype than the one built for, or NaN.
        """
        labels, height, width = self._shape
        check_array("probabilities", probabilities, shape=self._shape, dtype="float32")
        if heat_maps is not None:
            check_array("heat_maps", heat_maps, shape=(labels - 1, height, width), dtype="float32")
        for name, values in (("probabilities", probabilities), ("heat_maps", heat_maps)):
            if values is not None and not np.isfinite(values).all():
                raise ShapeError(f"{name}: expected finite numbers, got NaN or infinity")
        energy = -np.log(np.clip(probabilities, _SMALLEST_PROBABILITY, 1.0))
        # (labels, height, width) -> (labels, height * width), rows first as in the lattice
        found = self._mean_field(np.ascontiguousarray(energy.reshape(labels, -1)), heat_maps)
        return found.reshape(self._shape)

    def refine_each(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """:meth:`refine` for several unaries of one image at once: much faster than one after the other.

        The lattice filters each label by itself, so that it can hold the labels of all of them. Both arrays are float32
        (unaries, labels, height, width); their product is the number of labels that the lattice was built for.

        Raises:
            ShapeError: another shape or dtype than the one built for, or NaN.
        """
        rows, height, width = self._shape
        unaries, labels = probabilities.shape[:2]
        shape = (unaries, rows // unaries, height, width)
        check_array("probabilities", probabilities, shape=shape, dtype="float32")
        if not np.isfinite(probabilities).all():
            raise ShapeError("probabilities: expected finite numbers, got NaN or infinity")
        energy = -np.log(np.clip(probabilities, _SMALLEST_PROBABILITY, 1.0))
        self._crf.setUnaryEnergy(np.ascontiguousarray(energy.reshape(rows, -1)))
        marginals, *scratch = self._crf.startInference()
        # (pixels, unaries, labels), as they lie in memory: written to, the lattice goes on with what is written
        all_labels = np.asarray(marginals).T.reshape(-1, unaries, labels)
        all_labels /= all_labels.sum(axis=2, keepdims=True)
        found, moving = all_labels.copy(), np.ones(unaries, dtype=bool)
        for _ in range(self._parameters.iterations):
            before = all_labels.copy()
            self._crf.stepInference(marginals, *scratch)
            all_labels /= all_labels.sum(axis=2, keepdims=True)
            found[:, moving] = all_labels[:, moving]
            moving &= 0.5 * np.abs(all_labels - before).sum(axis=2).mean(axis=0) >= _SETTLED
            if not moving.any():
                break
        return np.ascontiguousarray(np.moveaxis(found, 0, 2).reshape(shape))

    def _mean_field(
        self, energy: npt.NDArray[np.float32], heat_maps: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float32]:
        """Label probabilities (labels, height * width) after mean field has converged, or its steps are used up."""
        small = None if heat_maps is None or not self._parameters.heat_weight else [_shrunk(one) for one in heat_maps]
        self._crf.setUnaryEnergy(energy)
        marginals, *scratch = self._crf.startInference()
        found = np.array(marginals, dtype=np.float32)
        for step in range(self._parameters.iterations):
            before = found
            if small and step >= _FREE_STEPS:
                self._crf.setUnaryEnergy(energy - self._evidence(found, small))
            self._crf.stepInference(marginals, *scratch)
            found = np.array(marginals, dtype=np.float32)
            if (step > _FREE_STEPS or not small) and 0.5 * np.abs(found - before).sum(axis=0).mean() < _SETTLED:
                break
        return found

    def _evidence(
        self, found: npt.NDArray[np.float32], heat_maps: Sequence[npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float32]:
        """What each label gains at each pixel (labels, height * width) by heat that its mask does not explain."""
        _, *masks = found.reshape(self._shape)
        rests = [unexplained_heat(_shrunk(mask), heat) for mask, heat in zip(masks, heat_maps, strict=True)]
        gains = [np.zeros(self._shape[1:], np.float32), *(enlarge(rest, self._shape[1:]) for rest in rests)]
        return np.stack(gains).reshape(found.shape) * np.float32(self._parameters.heat_weight)


def refine(
    image: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float32], heat_maps: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], float]:
    """Refines by DenseCRF: the refinement ``"densecrf"``.

    Args:
        image: uint8 (height, width, 3).
        probabilities: float32 (1 + classes, height, width), background first.
        heat_maps: float32 (classes, height, width) in [0, 1].

    Returns:
        The refined probabilities, and the temperature at which they can be believed.
    """
    return _refined(image, probabilities, heat_maps, default_parameters(len(probabilities)))


def refine_as_in_the_paper(
    image: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float32], heat_maps: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], float]:
    """Refines by DenseCRF with the paper's parameters: the refinement ``"densecrf-paper"``.

    Args:
        image: As for :func:`refine`.
        probabilities: As for :func:`refine`.
        heat_maps: As for :func:`refine`.

    Returns:
        As :func:`refine`.
    """
    return _refined(image, probabilities, heat_maps, PAPER_PARAMETERS)


def _refined(
    image: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    heat_maps: npt.NDArray[np.float32],
    parameters: DenseCrfParameters,
) -> tuple[npt.NDArray[np.float32], float]:
    crf = DenseCrf(image, len(probabilities), parameters=parameters)
    return crf.refine(probabilities, heat_maps), parameters.temperature


def unexplained_heat(mask: npt.NDArray[np.float32], heat_map: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What is left of a heat map (height, width) after a soft mask (height, width) in [0, 1], in shares of an object.

    The mask is blurred as attention is, and fitted to the heat by least squares with a slope and a constant: how hot an
    object is, and what floor of heat lies everywhere, differ from map to map. The rest is divided by the slope: 1 is the
    heat of an object where the mask has none, -1 the lack of all heat where it has one.
    """
    blurred = ndimage.gaussian_filter(mask, _HEAT_BLUR * float(np.sqrt(mask.size)), mode="nearest")
    spread = blurred - blurred.mean()
    rest = heat_map - heat_map.mean()
    slope = float((spread * rest).mean()) / max(float((spread**2).mean()), float(np.finfo(np.float32).tiny))
    return np.asarray((rest - slope * spread) / max(slope, _LEAST_SLOPE), dtype=np.float32)


def _shrunk(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values (height, width) with about :data:`_HEAT_SIDE` squared pixels at most."""
    height, width = working_size(*values.shape, side=_HEAT_SIDE)
    # Each pixel's own share of the area: a hundred times faster than skimage's.
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))


def _build(image: npt.NDArray[np.uint8], labels: int, parameters: DenseCrfParameters) -> Any:
    height, width, _ = image.shape
    scale = float(np.sqrt(height * width)) / _REFERENCE_SIDE
    crf = _import_pydensecrf().DenseCRF2D(width, height, labels)  # width first, unlike everything else here
    crf.addPairwiseGaussian(sxy=parameters.gaussian_sxy * scale, compat=parameters.gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=parameters.bilateral_sxy * scale,
        srgb=parameters.bilateral_srgb,
        # pydensecrf refuses read-only buffers, which is what PIL hands out.
        rgbim=np.array(image, order="C"),
        compat=parameters.bilateral_compat,
    )
    if parameters.position_compat:
        crf.addPairwiseGaussian(sxy=parameters.bilateral_sxy * scale, compat=-parameters.position_compat)
    return crf


def _import_pydensecrf() -> Any:
    try:
        import pydensecrf.densecrf
    except ImportError as error:
        raise MissingDependencyError(
            "pydensecrf is not installed (it needs a C++ compiler to build): "
            "pip install pydensecrf2, or go without by refinement=None"
        ) from error
    return pydensecrf.densecrf

"""The sections of a config, every field with its type, its bounds and what it means; names come from the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from rodflow import catalogue
from rodflow.config.own import known, named
from rodflow.config.values import Count, Decay, NotNegative, Number, PathName, Positive, Share, Strict
from rodflow.errors import InvalidInput


def cell_name(name: str, info: ValidationInfo) -> str:
    """``architecture-optimizer``, of built-in ones or of the config's own parts."""
    architectures = known("networks", catalogue.ARCHITECTURES, info)
    optimizers = known("optimizers", catalogue.OPTIMIZERS, info)
    architecture, _, optimizer = name.partition("-")
    if architecture not in architectures or optimizer not in optimizers:
        allowed = f"architecture-optimizer, of {', '.join(architectures)} and {', '.join(optimizers)}"
        raise InvalidInput("", name, allowed)
    return name


DATASETS = ("digits", "cifar10", "npz")
LOSSES = ("mse", "cross_entropy", "binary_cross_entropy")
if TYPE_CHECKING:  # a type checker wants literal names, which here are those of the catalogue
    Architecture: TypeAlias = str
    OptimizerName: TypeAlias = str
    FlowName: TypeAlias = str
    DatasetName: TypeAlias = str
    LossName: TypeAlias = str
    LandscapeName: TypeAlias = str
    CellName: TypeAlias = str
else:
    Architecture = named("networks", catalogue.ARCHITECTURES)
    OptimizerName = named("optimizers", catalogue.OPTIMIZERS)
    FlowName = named("flows", catalogue.FLOWS)
    DatasetName = named("datasets", DATASETS)
    LossName = named("losses", LOSSES)
    LandscapeName = Literal[tuple(catalogue.LANDSCAPES)]
    CellName = Annotated[str, AfterValidator(cell_name)]
Precision = Literal["float32", "float64"]
FlowPrecision = Literal["float32", "float64", "mixed"]
"""Of a flow; mixed: its states in float64, the network's gradients in float32."""

PLACES = {"file", "folder"}
"""Keys of ``data`` that say where its images lie."""


class Data(Strict):
    """Which examples, inputs and targets, and how many of them."""

    dataset: DatasetName = "digits"
    """scikit-learn's digits, CIFAR-10, a file (npz), or one of ``own.datasets``."""
    file: PathName | None = None
    """cifar10: an .npz with x_train, y_train, x_test, y_test (null: torchvision fetches it); npz: one with x and y."""
    folder: PathName = "data"
    """CIFAR-10: where a fetched archive is kept."""
    examples: Count = 300
    """How many of the first examples, of the classes where targets are labels."""
    classes: list[Annotated[int, Field(ge=0, lt=2**31)]] | None = None
    """The labels that are used; null: all."""
    random_labels: Share = 0.0
    """Share of the labels that are drawn anew at random: with cross-entropy the loss then takes long to vanish."""
    normalise: bool = True
    """Whether each channel of images, or feature of a table, gets mean 0 and deviation 1."""

    @model_validator(mode="after")
    def _classes_differ(self) -> Data:
        if (self.classes is not None and len(set(self.classes)) != len(self.classes)) or self.classes == []:
            raise InvalidInput("classes", self.classes, "at least one class, each named once")
        return self


Activation = Literal["gelu", "tanh", "silu", "softplus", "sigmoid", "relu"]
"""Smooth but for relu, whose second derivative misses its kink: flows take second derivatives, central flow third."""


class MLPSizes(Strict):
    """Sizes of the MLP."""

    widths: list[Count] = [32, 32]
    """Widths of the hidden layers."""
    activation: Activation = "gelu"
    """What stands between two layers."""


class CNNSizes(Strict):
    """Sizes of the CNN."""

    filters: list[Count] = Field([4, 8], min_length=1)
    """Filters of each 3x3 convolution."""
    dense: Count = 16
    """Width of the dense layer."""
    activation: Activation = "gelu"
    """What stands between two layers."""


class ViTSizes(Strict):
    """Sizes of the ViT."""

    patch: Count = 4
    """Side of a patch, in pixels."""
    width: Count = 16
    """Width of a token."""
    depth: Count = 1
    """Number of blocks."""
    heads: Count = 2
    """Attention heads of a block."""
    hidden: Count = 32
    """Hidden width of a block's perceptron."""
    activation: Activation = "gelu"
    """What stands between the layers of a block's perceptron."""


class Sizes(Strict):
    """Sizes by architecture."""

    mlp: MLPSizes = MLPSizes()
    """Of the MLP."""
    cnn: CNNSizes = CNNSizes()
    """Of the CNN."""
    vit: ViTSizes = ViTSizes()
    """Of the ViT."""


class Hyperparameters(Strict):
    """What all optimizers share; each takes what it has."""

    beta1: Decay = 0.9
    """Decay of the first moment, or of the momentum."""
    beta2: Decay = 0.99
    """Decay of the second moment."""
    epsilon: NotNegative = 1e-8
    """Added to the root of the second moment."""
    bias_correction: bool = True
    """Whether the adaptive methods, adagrad aside, correct their moments for their start at zero."""
    weight_decay: NotNegative = 0.01
    """adamw: the decoupled decay."""
    momentum_share: Share = 0.7
    """qhm: the first moment's share of a step; the gradient has the rest."""


class HyperparameterChanges(Strict):
    """What one optimizer has instead of the shared hyperparameters; null: the shared one."""

    beta1: Decay | None = None
    """Decay of the first moment, or of the momentum."""
    beta2: Decay | None = None
    """Decay of the second moment."""
    epsilon: NotNegative | None = None
    """Added to the root of the second moment."""
    bias_correction: bool | None = None
    """Whether moments are corrected for their start at zero."""
    weight_decay: NotNegative | None = None
    """adamw: the decoupled decay."""
    momentum_share: Share | None = None
    """qhm: the first moment's share of a step."""


class ScheduleSettings(Strict):
    """The factor of all learning rates over the run (``rodflow.optimizers.schedules``); each kind takes what it has."""

    kind: Literal["constant", "warmup", "cosine", "warmup_cosine"] = "constant"
    """Constant, a line up to the full rate, a cosine down to the floor, or one after the other."""
    warmup: Count = 100
    """Steps of the warm-up."""
    floor: Annotated[Number, Field(gt=0, le=1)] = 0.1
    """Share of the learning rate that the cosine leaves at the horizon."""
    horizon: Count | None = None
    """Step at which the cosine reaches its floor; null: the number of steps."""


class Sharpness(Strict):
    """The eigensolver of the effective sharpness."""

    count: Count = 1
    """Eigenvalues per record; the largest is compared with the threshold."""
    tolerance: Positive = 2e-2
    """The relative error of the largest eigenvalue is at most about its square."""


class SolverSettings(Strict):
    """Changes of a flow's solver (``rodflow.flows.base.Solver``) and of its settings; null: as the flow has them."""

    dtype: FlowPrecision | None = None
    """Precision of the flow, in place of ``flow_dtype``."""
    method: Literal["euler", "midpoint", "heun2", "heun3", "rk4", "dopri5", "bosh3", "rkc2"] | None = None
    """The solver's method."""
    step: Positive | None = None
    """Its step, in optimizer steps, and that of rod and central, at most 1; an adaptive method takes no larger one."""
    rtol: Positive | None = None
    """Relative tolerance of an adaptive method."""
    atol: Positive | None = None
    """Absolute tolerance of an adaptive method."""
    max_evaluations: Count | None = None
    """Evaluations of the field by an adaptive method between two records after which the flow counts as too stiff."""
    columns: Count | None = None
    """rod: columns of the covariance beside the drift's."""
    order: Annotated[int, Field(ge=1, le=3)] | None = None
    """Order of the backward error correction."""
    interval: Count | None = None
    """drift_free_rod: steps between two that separate centre and oscillation."""
    rounding_scale: NotNegative | None = None
    """Size of the rounding errors that the rod takes up, in those of the discrete run."""
    rounding_seed: Annotated[int, Field(ge=0, lt=1000)] | None = None
    """Which random rounding errors these are."""
    power: Annotated[int, Field(ge=2, le=31)] | None = None
    """drift_free_rod: power of x by which a separating step differs from the optimizer's."""
    split_tolerance: NotNegative | None = None
    """drift_free_rod: how much a separating step may lose, as a share of the centre's length."""
    directions: Count | None = None
    """central: critical directions that are followed."""
    tolerance: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """central: share of the threshold from which on below it a direction counts as critical."""
    relaxation: NotNegative | None = None
    """central: rate at which the sharpness comes back to the threshold, per optimizer step."""

"""The one description of a run: its schema, its defaults, and the cells that it holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from rodflow.errors import InvalidInput
from rodflow.yaml_reader import read_yaml

Architecture = Literal["mlp", "cnn", "vit"]
OptimizerName = Literal[
    "gd",
    "heavy_ball",
    "nesterov",
    "scalar_rmsprop",
    "rmsprop",
    "scalar_adam",
    "adam",
    "scalar_nadam",
    "nadam",
    "adamw",
    "adagrad",
    "qhm",
]
FlowName = Literal[
    "stable",
    "stable_corrected",
    "rod",
    "rod_low_rank",
    "drift_free_rod",
    "drift_free_rod_ode",
    "central",
    "central_momentum",
    "edge",
]
LandscapeName = Literal["quartic", "valley", "square_root"]


def number(value: Any) -> Any:
    """Text such as ``1e-3``, a number to everyone but YAML 1.1, as the number that it stands for."""
    exponential = isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value, re.ASCII)
    return float(value) if exponential else value


Number = Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Decay = Annotated[Number, Field(ge=0, lt=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
PathName = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]
CellName = Annotated[
    str, Field(pattern=f"^({'|'.join(get_args(Architecture))})-({'|'.join(get_args(OptimizerName))})$")
]

MODELLED: dict[str, tuple[str, ...]] = {
    "central": ("gd", "scalar_rmsprop", "rmsprop", "adagrad"),
    "central_momentum": ("heavy_ball", "nesterov", "scalar_adam", "adam", "scalar_nadam", "nadam", "adamw", "qhm"),
    "edge": ("gd",),
}
"""The optimizers that a flow models, where it does not model all: ``Flow.supports``, for readers without torch."""


PLACES = {"file", "folder"}
"""Keys of ``data`` that say where its images lie."""


class Strict(BaseModel):
    """A section that refuses unknown keys, and values of another type than it names: ``true`` is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(Strict):
    """Which images, and how many of them."""

    dataset: Literal["digits", "cifar10"] = "digits"
    file: PathName | None = None
    folder: PathName = "data"
    examples: Count = 300
    classes: list[Annotated[int, Field(ge=0, lt=2**31)]] | None = None
    normalise: bool = True

    @model_validator(mode="after")
    def _classes_differ(self) -> Data:
        if (self.classes is not None and len(set(self.classes)) != len(self.classes)) or self.classes == []:
            raise InvalidInput("classes", self.classes, "at least one class, each named once")
        return self


class MLPSizes(Strict):
    """Hidden layer widths."""

    widths: list[Count] = [32, 32]


class CNNSizes(Strict):
    """Filters of each 3x3 convolution, and the width of the dense layer."""

    filters: list[Count] = Field([4, 8], min_length=1)
    dense: Count = 16


class ViTSizes(Strict):
    """Patch side, token width, number of blocks, attention heads, width of the perceptron."""

    patch: Count = 4
    width: Count = 16
    depth: Count = 1
    heads: Count = 2
    hidden: Count = 32


class Sizes(Strict):
    """Sizes by architecture."""

    mlp: MLPSizes = MLPSizes()
    cnn: CNNSizes = CNNSizes()
    vit: ViTSizes = ViTSizes()


class Hyperparameters(Strict):
    """What all optimizers share; each takes what it has."""

    beta1: Decay = 0.9
    beta2: Decay = 0.99
    epsilon: NotNegative = 1e-8
    bias_correction: bool = True
    weight_decay: NotNegative = 0.01
    momentum_share: Share = 0.7


class HyperparameterChanges(Strict):
    """What one optimizer has instead of the shared hyperparameters."""

    beta1: Decay | None = None
    beta2: Decay | None = None
    epsilon: NotNegative | None = None
    bias_correction: bool | None = None
    weight_decay: NotNegative | None = None
    momentum_share: Share | None = None


class ScheduleSettings(Strict):
    """The factor of every learning rate over the run (see ``rodflow.schedules``); each kind takes what it has."""

    kind: Literal["constant", "warmup", "cosine", "warmup_cosine"] = "constant"
    warmup: Count = 100
    floor: Annotated[Number, Field(gt=0, le=1)] = 0.1
    horizon: Count | None = None


class Sharpness(Strict):
    """The eigensolver: number of eigenvalues, relative residual."""

    count: Count = 1
    tolerance: Positive = 2e-2


class SolverSettings(Strict):
    """Overrides of a flow's solver (see ``rodflow.flows.base.Solver``) and of what the flow itself takes."""

    dtype: Literal["float32", "float64"] | None = None
    method: Literal["euler", "midpoint", "heun2", "heun3", "rk4", "dopri5", "bosh3", "rkc2"] | None = None
    step: Positive | None = None
    rtol: Positive | None = None
    atol: Positive | None = None
    max_steps: Count | None = None
    rank: Count | None = None
    order: Annotated[int, Field(ge=1, le=3)] | None = None
    interval: Count | None = None
    seed: NotNegative | None = None
    split_order: Annotated[int, Field(ge=2, multiple_of=2)] | None = None
    draw: Annotated[int, Field(ge=0, lt=1000)] | None = None
    directions: Count | None = None
    tolerance: Annotated[Number, Field(gt=0, lt=1)] | None = None
    relaxation: NotNegative | None = None


class Config(Strict):
    """A run: everything that its results depend on, and how often its jobs are saved."""

    run: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)
    architectures: list[Architecture] = Field(min_length=1)
    optimizers: list[OptimizerName] = Field(min_length=1)
    flows: list[FlowName] = Field(min_length=1)
    seeds: list[Seed] = Field([0], min_length=1)
    seeds_of: dict[Architecture, Annotated[list[Seed], Field(min_length=1)]] = {}
    landscapes: list[LandscapeName] = []
    dtype: Literal["float32", "float64"] = "float32"
    perturbation: NotNegative = 0.0
    flow_dtype: Literal["float32", "float64"] = "float64"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    steps: Count
    flow_start: Annotated[int, Field(ge=8, lt=2**31)] | None = None  # a window has 8 steps on either side
    record_interval: Count = 20
    loss: Literal["mse", "cross_entropy"] = "mse"
    chunk_size: Count | None = None
    data: Data = Data()
    sizes: Sizes = Sizes()
    hyperparameters: Hyperparameters = Hyperparameters()
    hyperparameters_of: dict[OptimizerName, HyperparameterChanges] = {}
    schedule: ScheduleSettings = ScheduleSettings()
    maximum_sharpness: Positive = 4.0
    learning_rates: dict[Architecture, dict[OptimizerName, Positive]]
    sharpness: Sharpness = Sharpness()
    solvers: dict[FlowName, SolverSettings] = {}
    precision_cells: list[CellName] = []
    checkpoint_seconds: float = Field(60.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _complete(self) -> Config:
        for name in ("architectures", "optimizers", "flows", "seeds", "precision_cells", "landscapes"):
            names = getattr(self, name)
            if len(set(names)) != len(names):
                raise InvalidInput(name, names, "each named once")
        for architecture, seeds in self.seeds_of.items():
            if len(set(seeds)) != len(seeds):
                raise InvalidInput(f"seeds_of.{architecture}", seeds, "each named once")
        for architecture, optimizer, _ in self.cells + self.precision_studies:
            if optimizer not in self.learning_rates.get(architecture, {}):  # type: ignore[call-overload]
                key = f"learning_rates.{architecture}.{optimizer}"
                raise InvalidInput(key, None, "a positive number (missing key)")
        for optimizer in self.optimizers:
            if not self.flows_of(optimizer):
                raise InvalidInput("flows", self.flows, f"at least one that models {optimizer}")
        if not self.record_interval <= self.steps:
            raise InvalidInput("record_interval", self.record_interval, f"at most the steps, {self.steps}")
        warmup, horizon = self.schedule.warmup, self.horizon
        if self.schedule.kind == "warmup_cosine" and not warmup < horizon:
            raise InvalidInput("schedule.warmup", warmup, f"fewer steps than the horizon, {horizon}")
        return self

    @property
    def cells(self) -> list[tuple[str, str, int]]:
        """Architecture, optimizer and seed of each cell."""
        return [(a, o, s) for a in self.architectures for o in self.optimizers for s in self.seeds_for(a)]

    def seeds_for(self, architecture: str) -> list[int]:
        """The seeds of an architecture's cells: its own in ``seeds_of``, else the shared ``seeds``."""
        return self.seeds_of.get(architecture, self.seeds)  # type: ignore[call-overload]

    @property
    def seeds_named(self) -> str:
        """The seeds of all cells in words, for example ``seeds 0 (mlp: 0, 1)``."""
        shared, own = ", ".join(map(str, self.seeds)), []
        for architecture in self.architectures:
            if self.seeds_for(architecture) != self.seeds:
                own.append(f"{architecture}: {', '.join(map(str, self.seeds_for(architecture)))}")
        return f"seeds {shared}" + (f" ({'; '.join(own)})" if own else "")

    def flows_of(self, optimizer: str) -> list[FlowName]:
        """The config's flows that model this optimizer: those that its cells have."""
        return [flow for flow in self.flows if optimizer in MODELLED.get(flow, (optimizer,))]

    @property
    def followed(self) -> dict[tuple[str, str, int, str], dict[str, Any]]:
        """The settings of every flow of every cell, by architecture, optimizer, seed and flow."""
        jobs = [(*cell, flow) for cell in self.cells for flow in self.flows_of(cell[1])]
        return {(a, o, seed, flow): self.flow_settings(a, o, flow) for a, o, seed, flow in jobs}

    @property
    def compares(self) -> bool:
        """Whether a competing model, one that ``MODELLED`` names, runs in some cell."""
        return any(flow in MODELLED for optimizer in self.optimizers for flow in self.flows_of(optimizer))

    @property
    def precision_studies(self) -> list[tuple[str, str, int]]:
        """Architecture, optimizer and seed of each cell whose precision is studied; the grid need not hold it."""
        named = [name.split("-") for name in self.precision_cells]
        return [(architecture, o, s) for architecture, o in named for s in self.seeds_for(architecture)]

    @property
    def horizon(self) -> int:
        """Steps after which the schedule has come down to its floor."""
        return self.schedule.horizon or self.steps

    def require(self, **names: str) -> None:
        """Check names, by kind: ``architecture``, ``optimizer``, ``flow``, ``landscape``.

        Raises: ``InvalidInput`` for one not held.
        """
        for kind, name in names.items():
            held = getattr(self, f"{kind}s")
            if name not in held:
                raise InvalidInput(kind, name, f"one of the config's: {', '.join(held)}")

    def hyperparameters_for(self, optimizer: str) -> dict[str, Any]:
        """The shared hyperparameters, with this optimizer's own in their place."""
        own = self.hyperparameters_of.get(optimizer)  # type: ignore[call-overload]
        return self.hyperparameters.model_dump() | ({} if own is None else own.model_dump(exclude_none=True))

    @property
    def settings(self) -> dict[str, Any]:
        """All that the results depend on: the whole config without ``checkpoint_seconds``."""
        return self.model_dump(mode="json", exclude={"checkpoint_seconds"})

    @property
    def placeless(self) -> Config:
        """This config without where its images lie, which differs between machines."""
        return self.model_copy(update={"data": self.data.model_copy(update=Data().model_dump(include=PLACES))})

    def discrete_settings(self, architecture: str, optimizer: str) -> dict[str, Any]:
        """All that the discrete run of a cell depends on, its seed and code aside."""
        whole = self.settings
        kept = ("data", "dtype", "device", "threads", "steps", "record_interval", "flow_start", "loss", "chunk_size")
        return {key: whole[key] for key in (*kept, "perturbation", "sharpness", "schedule")} | {
            "hyperparameters": self.hyperparameters_for(optimizer),
            "sizes": whole["sizes"][architecture],
            "learning_rate": self.learning_rates[architecture][optimizer],  # type: ignore[index]
        }

    def flow_settings(self, architecture: str, optimizer: str, flow: str) -> dict[str, Any]:
        """All that a flow of a cell depends on, its seed and code aside."""
        solver = self.solvers.get(flow)  # type: ignore[call-overload]
        return self.discrete_settings(architecture, optimizer) | {
            "flow_dtype": self.flow_dtype,
            "maximum_sharpness": self.maximum_sharpness,
            "solver": {} if solver is None else solver.model_dump(exclude_none=True),
        }

    def to_yaml(self) -> str:
        """The resolved config, every default written out, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def parse(settings: Any) -> Config:
    """The config that ``settings``, a mapping, describes.

    Raises: ``InvalidInput`` naming the first wrong key, its value and what is allowed.
    """
    if not isinstance(settings, dict):
        raise InvalidInput("config", settings, "a mapping of keys to values")
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> InvalidInput:
    """The first thing that a validation found, as key, value and what is allowed."""
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"] if part != "[key]"]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):  # raised by a section's own check, which knows the keys below it
        return InvalidInput(".".join([*where, cause.key]), cause.value, cause.allowed)
    allowed = first["msg"].removeprefix("Input should be ")
    if first["type"] == "missing":
        return InvalidInput(".".join(where), None, "a value (missing key)")
    if first["type"] == "extra_forbidden":
        allowed = f"one of {', '.join(_keys_of_section(first['loc'][:-1]))} (unknown key)"
    return InvalidInput(".".join(where) or "config", first["input"], allowed)


def _keys_of_section(where: tuple[int | str, ...]) -> list[str]:
    """The keys of the section at ``where``, which is one that refuses unknown keys."""
    section: Any = Config
    for part in where:
        # below a mapping of sections, such as hyperparameters_of, any key leads to a section of the same kind
        section = section.model_fields[part].annotation if hasattr(section, "model_fields") else get_args(section)[1]
    return list(section.model_fields)


def load(path: str | Path) -> Config:
    """Read a YAML config. Raises: ``InvalidInput`` if it cannot be read or holds what is not allowed."""
    return parse(read_yaml(path))


def json_schema() -> str:
    """The config's JSON schema, for editors and documentation."""
    return json.dumps(Config.model_json_schema(), indent=2)

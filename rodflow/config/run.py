"""One run: the whole config, the cells that it holds, and the settings that each job depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from rodflow import catalogue
from rodflow.config.own import Own, Part, beside, own_names, require_names
from rodflow.config.reader import read_yaml
from rodflow.config.schema import (
    DATASETS,
    LOSSES,
    PLACES,
    Architecture,
    CellName,
    Data,
    FlowName,
    FlowPrecision,
    HyperparameterChanges,
    Hyperparameters,
    LandscapeName,
    LossName,
    OptimizerName,
    Precision,
    ScheduleSettings,
    Sharpness,
    Sizes,
    SolverSettings,
)
from rodflow.config.values import Count, NotNegative, Positive, Seed, Strict, word
from rodflow.errors import InvalidInput

FLOAT32_EPSILON = 2.0**-23
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32", "perturbation": 0.0},
    "float64": {"dtype": "float64", "perturbation": 0.0},
    "float64_perturbed": {"dtype": "float64", "perturbation": FLOAT32_EPSILON},
}
"""The variants of the precision study: what each changes in the config. The flows of all of them run in float64."""
STUDIED_FLOWS = ("stable", "drift_free_rod")
"""The flows that the precision study starts from each variant's own window."""
LANDSCAPE_FLOWS = ("stable", "rod", "rod_one_column", "drift_free_rod")
"""The flows that start on each toy landscape."""
BUILT_IN = {
    "networks": catalogue.ARCHITECTURES,
    "datasets": DATASETS,
    "optimizers": catalogue.OPTIMIZERS,
    "losses": LOSSES,
    "flows": catalogue.FLOWS,
}
"""Built-in names by kind; a plugin must not reuse one."""

ANIMATED_LANDSCAPES = ("valley",)
"""The toy landscapes that have an animation, where a config has them."""
ANIMATED_FLOWS = ("stable", "rod")
"""The flows that an animation shows beside the run, where a config has them."""


class Cell(NamedTuple):
    """What is trained and followed: an architecture, an optimizer, and the seed of the initial weights."""

    architecture: str
    optimizer: str
    seed: int

    def __str__(self) -> str:
        return f"{self.architecture}-{self.optimizer}-seed{self.seed}"


CELL_COLUMNS = list(Cell._fields)
"""What a cell is known by in every table."""


class Config(Strict):
    """A run: everything that its results depend on, and how often its jobs are saved."""

    run: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)
    """Names ``results/<run>`` and ``figures/<run>``."""
    architectures: list[Architecture] = Field(min_length=1)
    """The networks."""
    optimizers: list[OptimizerName] = Field(min_length=1)
    """The optimizers; with the architectures and seeds they make the cells."""
    flows: list[FlowName] = Field(min_length=1)
    """The continuous-time models; each runs for the optimizers that it models."""
    seeds: list[Seed] = Field([0], min_length=1)
    """Seeds of the initial weights."""
    seeds_of: dict[Architecture, Annotated[list[Seed], Field(min_length=1)]] = {}
    """An architecture's own seeds, in place of ``seeds``."""
    landscapes: list[LandscapeName] = []
    """Toy losses in the plane, each with a figure."""
    dtype: Precision = "float32"
    """Precision of the discrete runs."""
    perturbation: NotNegative = 0.0
    """Relative error that is put on every weight after each discrete step."""
    flow_dtype: FlowPrecision = "float64"
    """Precision of the flows; mixed: states in float64, gradients in float32. ``solvers`` may name another for one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training and flows run; auto: on a GPU, where there is one and the network is large enough to gain."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """Threads of a job."""
    steps: Count
    """Full-batch steps of each discrete run."""
    flow_start: Annotated[int, Field(ge=8, lt=2**31)] | None = None  # a window has 8 steps on either side
    """Step at which all flows start; null: 20, plus 5 / (1 - beta1) with momentum."""
    record_interval: Count = 20
    """Steps between two records of sharpness, midpoints and errors."""
    loss: LossName = "mse"
    """mse, half the squared distance to the target (of labels: one-hot), cross_entropy or binary_cross_entropy, as the
    mean over the examples; or one of ``own.losses``."""
    chunk_size: Count | None = None
    """Examples held in memory at once; null: all."""
    compile: Annotated[Literal["auto", "off", "on"], BeforeValidator(word)] = "auto"
    """How gradients are evaluated; auto: their operations replayed, on a GPU as a CUDA graph; on: fused by a compiler
    besides; off: as the network's code says."""
    own: Own = Own()
    """Parts of your own, by ``module:function``."""
    data: Data = Data()
    """The examples."""
    sizes: Sizes = Sizes()
    """The networks' sizes."""
    hyperparameters: Hyperparameters = Hyperparameters()
    """What all optimizers share."""
    hyperparameters_of: dict[OptimizerName, HyperparameterChanges] = {}
    """What an optimizer has instead."""
    schedule: ScheduleSettings = ScheduleSettings()
    """Of the learning rates."""
    maximum_sharpness: Positive = 50.0
    """Thresholds of effective sharpness at which a flow is stopped: it has left the track."""
    learning_rates: dict[Architecture, dict[OptimizerName, Positive]]
    """By architecture and optimizer."""
    sharpness: Sharpness = Sharpness()
    """The eigensolver."""
    solvers: dict[FlowName, SolverSettings] = {}
    """Changes of a flow's solver and settings, by flow."""
    precision_cells: list[CellName] = []
    """Cells, ``architecture-optimizer``, that are also trained in every variant of the precision study."""
    animated_cells: list[CellName] = []
    """Cells, ``architecture-optimizer``, whose first seed has an animation, where they are among the run's."""
    checkpoint_seconds: float = Field(60.0, ge=0, allow_inf_nan=False)
    """Seconds between two checkpoints of a job; no result depends on them."""

    @model_validator(mode="after")
    def _complete(self) -> Config:
        require_names(self.own, BUILT_IN)
        for optimizer in self.hyperparameters_of.keys() & self.own.optimizers.keys():
            allowed = f"nothing: what {optimizer} takes is own.optimizers.{optimizer}.settings"
            raise InvalidInput("hyperparameters_of", optimizer, allowed)
        for name in (
            "architectures",
            "optimizers",
            "flows",
            "seeds",
            "precision_cells",
            "landscapes",
            "animated_cells",
        ):
            names = getattr(self, name)
            if len(set(names)) != len(names):
                raise InvalidInput(name, names, "each named once")
        for architecture, seeds in self.seeds_of.items():
            if len(set(seeds)) != len(seeds):
                raise InvalidInput(f"seeds_of.{architecture}", seeds, "each named once")
        for architecture, optimizer, _ in self.cells + self.precision_studies:
            if optimizer not in self.learning_rates.get(architecture, {}):
                key = f"learning_rates.{architecture}.{optimizer}"
                allowed = "a positive number (missing key: a config of other images, sizes or loss gives its own)"
                raise InvalidInput(key, None, allowed)
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
    def cells(self) -> list[Cell]:
        """The cells: every optimizer on every architecture, with each of its seeds."""
        return [Cell(a, o, s) for a in self.architectures for o in self.optimizers for s in self.seeds_for(a)]

    def seeds_for(self, architecture: str) -> list[int]:
        """The seeds of an architecture's cells: its own in ``seeds_of``, else the shared ``seeds``."""
        return self.seeds_of.get(architecture, self.seeds)

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
        own = self.own.optimizers.get(optimizer)
        momentum = None if own is None else own.momentum
        return [flow for flow in self.flows if catalogue.models(flow, optimizer, momentum)]

    @property
    def followed(self) -> dict[tuple[str, str, int, str], dict[str, Any]]:
        """The settings of every flow of every cell, by architecture, optimizer, seed and flow."""
        jobs = [(cell, flow) for cell in self.cells for flow in self.flows_of(cell.optimizer)]
        return {(*cell, flow): self.flow_settings(cell, flow) for cell, flow in jobs}

    @property
    def compares(self) -> bool:
        """Whether a model of other authors runs in some cell."""
        flows = {flow for optimizer in self.optimizers for flow in self.flows_of(optimizer)}
        return any(map(catalogue.competes, flows))

    @property
    def precision_studies(self) -> list[Cell]:
        """The cells whose precision is studied; they need not be among ``cells``."""
        named = [name.split("-") for name in self.precision_cells]
        return [Cell(architecture, o, s) for architecture, o in named for s in self.seeds_for(architecture)]

    @property
    def animations(self) -> list[Cell]:
        """The cells that have an animation: of ``animated_cells`` those of the grid, with their first seed."""
        firsts = {f"{a}-{o}": Cell(a, o, self.seeds_for(a)[0]) for a in self.architectures for o in self.optimizers}
        return [firsts[name] for name in self.animated_cells if name in firsts]

    def variant(self, name: str) -> Config:
        """The config of a variant of the precision study; this one where ``name`` is empty.

        Raises: ``InvalidInput`` for another name than those of ``VARIANTS``.
        """
        if not name:
            return self
        if name not in VARIANTS:
            raise InvalidInput("variant", name, f"one of {', '.join(VARIANTS)}")
        return self.model_copy(update=VARIANTS[name] | {"flow_dtype": "float64"})

    @property
    def horizon(self) -> int:
        """Steps after which the schedule has come down to its floor."""
        return self.schedule.horizon or self.steps

    def require(self, **names: str) -> None:
        """Check names, by kind: ``architecture``, ``optimizer``, ``flow``, ``landscape``.

        Raises: ``InvalidInput`` for one that the config does not hold.
        """
        for kind, name in names.items():
            held = getattr(self, f"{kind}s")
            if name not in held:
                raise InvalidInput(kind, name, f"one of the config's: {', '.join(held)}")

    def require_rate(self, cell: Cell) -> None:
        """Raises: ``InvalidInput`` for a cell without a learning rate."""
        rates: dict[str, dict[str, float]] = self.learning_rates
        if cell.architecture not in rates:
            raise InvalidInput("architecture", cell.architecture, f"one with learning rates: {', '.join(rates)}")
        if cell.optimizer not in rates[cell.architecture]:
            known = ", ".join(rates[cell.architecture])
            raise InvalidInput("optimizer", cell.optimizer, f"one with a learning rate: {known}")

    def parts(self, **names: str) -> dict[str, Part]:
        """Those of the ``names``, by kind (``networks``, ``losses``, ...), that are parts of the user's own, by key."""
        sections = {kind: getattr(self.own, kind) for kind in names}
        return {f"own.{kind}.{name}": sections[kind][name] for kind, name in names.items() if name in sections[kind]}

    def parts_of(self, cell: Cell) -> dict[str, Part]:
        """The parts of the user's own that the discrete run of a cell takes; its examples come from a file."""
        return self.parts(networks=cell.architecture, optimizers=cell.optimizer, losses=self.loss)

    @property
    def parts_used(self) -> dict[str, Part]:
        """The parts of the user's own that some job of this config takes."""
        cells = self.cells + self.precision_studies
        used = [self.parts(datasets=self.data.dataset), *map(self.parts_of, cells)]
        used += [self.parts(flows=flow) for cell in self.cells for flow in self.flows_of(cell.optimizer)]
        return {key: part for parts in used for key, part in parts.items()}

    def sizes_of(self, architecture: str) -> dict[str, Any]:
        """The settings of a network: its section of ``sizes``, or those of the user's own."""
        own = self.own.networks.get(architecture)
        return getattr(self.sizes, architecture).model_dump(mode="json") if own is None else own.settings

    def hyperparameters_for(self, optimizer: str) -> dict[str, Any]:
        """Those of the shared hyperparameters that an optimizer takes, with its own in their place; the settings of the
        user's own.
        """
        if optimizer in self.own.optimizers:
            return self.own.optimizers[optimizer].settings
        own, takes = self.hyperparameters_of.get(optimizer), set(catalogue.OPTIMIZERS.entries[optimizer].takes)
        changes = {} if own is None else own.model_dump(include=takes, exclude_none=True)
        return self.hyperparameters.model_dump(include=takes) | changes

    @property
    def settings(self) -> dict[str, Any]:
        """All that the results depend on: the whole config without ``checkpoint_seconds``."""
        return self.model_dump(mode="json", exclude={"checkpoint_seconds"})

    @property
    def placeless(self) -> Config:
        """This config without the place of its images, which differs between machines."""
        return self.model_copy(update={"data": self.data.model_copy(update=Data().model_dump(include=PLACES))})

    @property
    def data_settings(self) -> dict[str, Any]:
        """All that the examples depend on, their code and the content of their file aside."""
        return self.data.model_dump(mode="json") | _dumped(self.parts(datasets=self.data.dataset))

    def discrete_settings(self, cell: Cell) -> dict[str, Any]:
        """All that the discrete run of a cell depends on, its seed and code aside."""
        whole = self.settings
        kept = ["dtype", "device", "threads", "steps", "record_interval", "flow_start", "loss", "chunk_size"]
        kept += ["compile", "perturbation", "sharpness", "schedule"]
        return {key: whole[key] for key in kept} | {
            "data": self.data_settings,
            "hyperparameters": self.hyperparameters_for(cell.optimizer),
            "sizes": self.sizes_of(cell.architecture),
            "learning_rate": self.learning_rates[cell.architecture][cell.optimizer],
            **_dumped(self.parts_of(cell)),
        }

    def flow_settings(self, cell: Cell, flow: str) -> dict[str, Any]:
        """All that a flow of a cell depends on, its seed and code aside."""
        solver = self.solvers.get(flow)
        return self.discrete_settings(cell) | {
            "flow_dtype": self.flow_dtype,
            "maximum_sharpness": self.maximum_sharpness,
            "solver": {} if solver is None else solver.model_dump(exclude_none=True),
            **_dumped(self.parts(flows=flow)),
        }

    def study_settings(self, cell: Cell) -> dict[str, Any]:
        """All that the precision study of a cell depends on, its seed and code aside, by variant and flow."""
        return {
            name: {flow: self.variant(name).flow_settings(cell, flow) for flow in STUDIED_FLOWS} for name in VARIANTS
        }

    def plane_settings(self, cell: Cell) -> dict[str, Any]:
        """All that the animation of a cell is made from, its seed and code aside: by flow, and of the run alone."""
        moving = {flow: self.flow_settings(cell, flow) for flow in self.animated_flows(cell.optimizer)}
        return {"discrete": self.discrete_settings(cell), **moving}

    def animated_flows(self, optimizer: str) -> list[FlowName]:
        """The flows of ``ANIMATED_FLOWS`` that the cells of an optimizer have."""
        return [flow for flow in self.flows_of(optimizer) if flow in ANIMATED_FLOWS]

    def to_yaml(self) -> str:
        """The resolved config, every default written out, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _dumped(parts: dict[str, Part]) -> dict[str, Any]:
    return {key: part.model_dump(mode="json") for key, part in parts.items()}


def parse(settings: Any) -> Config:
    """The config that ``settings``, a mapping, describes. Modules of the user's own lie here if it does not say where.

    Raises: ``InvalidInput`` naming the first wrong key, its value and what is allowed.
    """
    if not isinstance(settings, dict):
        raise InvalidInput("config", settings, "a mapping of keys to values")
    try:
        return Config.model_validate(beside(settings, "config.yaml"), context=own_names(settings))
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> InvalidInput:
    """The first error that a validation found, as key, value and what is allowed."""
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"] if part != "[key]"]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):  # raised by a section's own check, which knows the keys below it
        return InvalidInput(".".join(filter(None, [*where, cause.key])), cause.value, cause.allowed)
    allowed = first["msg"].removeprefix("Input should be ")
    if first["type"] == "missing":
        return InvalidInput(".".join(where), None, "a value (missing key)")
    if first["type"] == "extra_forbidden":
        allowed = f"one of {', '.join(_keys_of_section(first['loc'][:-1]))} (unknown key)"
    return InvalidInput(".".join(where) or "config", first["input"], allowed)


def _keys_of_section(where: tuple[int | str, ...]) -> list[str]:
    """The keys of the section at ``where``."""
    section: Any = Config
    for part in where:
        # below a mapping of sections, such as hyperparameters_of, any key leads to a section of the same kind
        section = section.model_fields[part].annotation if hasattr(section, "model_fields") else get_args(section)[1]
    return list(section.model_fields)


def read(path: str | Path) -> Any:
    """The settings in a YAML config, not yet checked; ``own.folder`` is the file's, if it does not say another.

    Raises: ``InvalidInput`` if it cannot be read.
    """
    return beside(read_yaml(path), path)


def load(path: str | Path) -> Config:
    """Read a YAML config. Raises: ``InvalidInput`` if it cannot be read or holds what is not allowed."""
    return parse(read(path))


def json_schema() -> str:
    """The config's JSON schema, for editors and documentation."""
    return json.dumps(Config.model_json_schema(), indent=2)

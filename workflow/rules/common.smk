# What all rules share: the checked config, the names of files, the digests of the code that each stage uses
import os
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Another workflow, in another folder, may have this one as a module
PROJECT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
MODULE = not workflow.modifier.is_main_snakefile()
sys.path.insert(0, str(PROJECT))
from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.config.layers import layered
from rodflow.config.reader import plain_scalars
from rodflow.config.run import ANIMATED_LANDSCAPES, STUDIED_FLOWS, VARIANTS
from rodflow.errors import InvalidInput
from rodflow.jobs import gpu
from rodflow.jobs.forkserver import ForkServer
from rodflow.pipeline.finished import everything, found, missing, require_no_fewer_cells
from rodflow.pipeline.job import Job, of_cell
from rodflow.pipeline.own import require_parts
from rodflow.pipeline.provenance import code_digest


def put_first(variable, folder):
    """Put a folder before what a variable of the environment, a path of folders, has."""
    before = os.environ.get(variable)
    os.environ[variable] = os.pathsep.join([str(folder), before] if before else [str(folder)])


# The rules' `python` is that of Snakemake, also where nothing is activated, and on a cluster's node, which reads this
# too; that of a conda environment comes before it. The package is found from every folder. The commands themselves stay
# as they are: other words would run finished jobs again.
if Path(shutil.which("python") or "").parent != Path(sys.executable).parent:
    put_first("PATH", Path(sys.executable).parent)
if PROJECT != Path.cwd() and str(PROJECT) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    put_first("PYTHONPATH", PROJECT)

try:
    # Snakemake merges these too, but takes what changes a value silently: a key given twice, rates of other images
    typed = plain_scalars(dict(config if MODULE else workflow.config_settings.config))  # --config's, in their types
    switches = {}
    for name in ("incomplete", "overwrite"):  # of this call, no settings of the results; text on the command line
        said = typed.pop(name, False)
        if str(said).lower() not in ("true", "false"):
            raise InvalidInput(name, said, "true or false")
        switches[name] = str(said).lower() == "true"
    INCOMPLETE, OVERWRITE = switches.values()
    CONFIG = configuration.parse(layered([*([] if MODULE else map(configuration.read, workflow.configfiles)), typed]))
    RESULTS = f"results/{CONFIG.run}"
    THERE = found(CONFIG, RESULTS, INCOMPLETE)
    if not INCOMPLETE:
        require_parts(CONFIG)
except InvalidInput as error:
    raise WorkflowError(f"config: {error}")

WANTED = everything(CONFIG)
MISSING = [job.label for job in missing(CONFIG, RESULTS)] if INCOMPLETE else []
# Written when a run starts, read by every stage. No rule's output or input: what a job depends on is among its params,
# so that a config that is narrowed or widened runs again only the cells that it touches.
CONFIG_FILE = str(workflow.modifier.modify_path(f"{RESULTS}/config.yaml"))
FIGURES = f"figures/{CONFIG.run}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
# A run and a flow take a share of a GPU, `device: auto` where this machine has one. How many share it says the profile
# (`resources: gpu=4`), or else its free memory.
SHARES = gpu.shares() if CONFIG.device != "cpu" else 0
GPU = int(CONFIG.device == "cuda" or SHARES > 0)
if SHARES and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", SHARES)


def each_attempt(amount):
    """A resource of which a job that is tried again asks for so many times the amount as it has been tried."""
    return lambda wildcards, attempt: amount * attempt


# What a run, a flow and a plane ask for. A job that is stopped goes on from its checkpoint.
MEMORY_MB, MINUTES = each_attempt(4000), each_attempt(480)
CELL_PATTERN = "{architecture}-{optimizer}-seed{seed}"
FORK_SERVER = ForkServer()  # started with the run, so that its jobs need not each import torch and the rest
ENVIRONMENT = "../../environment.yml"  # from the rules' folder
TABLES = expand(
    "{results}/tables/{name}",
    results=RESULTS,
    name=["errors.csv", "thresholds.csv", "fidelity.csv", "comparison.csv", "summary.md", "provenance.json"],
)
REPLICATION = f"{RESULTS}/tables/REPLICATION.md"
PRECISION_TABLES = expand("{results}/tables/{name}", results=RESULTS, name=["precision.csv", "precision.json"])
# A cell whose precision is studied need not be among the config's architectures and optimizers. Its runs and flows in each
# variant lie in a folder of their own; that of the grid's has no name.
VARIANT_FOLDERS = f"|precision/({'|'.join(VARIANTS)})/"
STUDIED_ARCHITECTURES = "|".join(sorted({cell.architecture for cell in CONFIG.precision_studies})) or "none"
STUDIED_OPTIMIZERS = "|".join(sorted({cell.optimizer for cell in CONFIG.precision_studies})) or "none"
TRAINED_ARCHITECTURES = "|".join(sorted({cell.architecture for cell in CONFIG.cells + CONFIG.precision_studies}))
TRAINED_OPTIMIZERS = "|".join(sorted({cell.optimizer for cell in CONFIG.cells + CONFIG.precision_studies}))

TABLE_OF = {"overview": "errors.csv", "fidelity": "fidelity.csv"}  # what these figures are drawn from
if CONFIG.compares:
    TABLE_OF["comparison"] = "comparison.csv"


wildcard_constraints:
    kind="|".join(TABLE_OF),
    variant=VARIANT_FOLDERS,
    architecture="|".join(CONFIG.architectures),
    optimizer="|".join(CONFIG.optimizers),
    flow="|".join(sorted({*CONFIG.flows, *STUDIED_FLOWS})),
    seed=r"\d+",


def write_config():
    from rodflow.jobs.files import write_text

    write_text(CONFIG_FILE, CONFIG.to_yaml())


def config_file(wildcards):
    """The config's file. That of a module is written here, before its first job is planned: its onstart does not run.

    A dry run writes nothing, and neither does a call that plans no run.
    """
    if MODULE and workflow.executor_plugin and not workflow.dryrun:
        there = Path(CONFIG_FILE)
        if not there.exists() or there.read_text(encoding="utf-8") != CONFIG.to_yaml():
            require_no_fewer_cells(CONFIG, there.parent, OVERWRITE)
            write_config()
    return CONFIG_FILE


def cell_of(wildcards):
    return Cell(wildcards.architecture, wildcards.optimizer, int(wildcards.seed))


def variant_of(wildcards):
    """The variant of the precision study, the last part of its folder; empty for the grid's cells."""
    return Path(wildcards.variant).name


def pattern(kind, name=""):
    """What a job of that kind is known by, with wildcards; {variant} is the folder of a variant, or nothing."""
    return f"{{variant}}{Job(kind, CELL_PATTERN, name).label}"


def job_of(kind):
    """The job of that kind that wildcards name."""

    def of(wildcards):
        variant = variant_of(wildcards) if "variant" in wildcards.keys() else ""
        return Job(kind, cell_of(wildcards), wildcards.get("flow", ""), variant)

    return of


def settings_of(kind):
    return lambda wildcards: job_of(kind)(wildcards).settings(CONFIG)


def code_of(kind):
    return lambda wildcards: job_of(kind)(wildcards).code(CONFIG)


def option_of_variant(wildcards):
    return f"--variant {variant_of(wildcards)}" if wildcards.variant else ""


def all_figures():
    names = [f"cells/{a}-{o}" for a in CONFIG.architectures for o in CONFIG.optimizers if THERE.of(a, o)]
    names += [f"architectures/{a}" for a in CONFIG.architectures if THERE.of(a)] + list(TABLE_OF)
    names += [f"landscapes/{name}" for name in THERE.landscapes]
    return expand("{figures}/{name}.{format}", figures=FIGURES, name=names, format=["png", "pdf"])


def all_animations():
    names = [name for name in ANIMATED_LANDSCAPES if name in THERE.landscapes]
    names += [f"{architecture}-{optimizer}" for architecture, optimizer, _ in THERE.planes]
    return expand("{figures}/animations/{name}.gif", figures=FIGURES, name=names)


def moving_files(architecture, optimizer):
    """What the animation of a cell is drawn from: its plane, its run and the flows that move."""
    cell = Cell(architecture, optimizer, CONFIG.seeds_for(architecture)[0])
    return files([Job("plane", cell), *of_cell(cell, CONFIG.animated_flows(optimizer))])


def precision_outputs():
    if not THERE.studies:
        return []
    studied = [f"{a}-{o}" for a, o, _ in THERE.drawn_studies(CONFIG)]
    return PRECISION_TABLES + expand("{f}/precision/{c}.{format}", f=FIGURES, c=studied, format=["png", "pdf"])


def files(jobs):
    """What tables and figures read of these jobs."""
    return [str(file) for job in jobs for file in job.files(RESULTS)]


def files_of(cells):
    """The files of the runs and flows of these cells, by cell."""
    if not cells:
        raise WorkflowError("incomplete: no run of this is finished")
    return files(job for cell, flows in cells.items() for job in of_cell(cell, flows))


def accepting(part):
    """The option with which a stage makes do with what there is of a ``part`` of the run, where that is not all."""
    return "" if part(THERE) == part(WANTED) else "--incomplete"


def results_of(wildcards, input):
    """The folder that the stages know as the run's results: two above any file that they leave there."""
    return str(Path(input[0]).parents[1])


def drawn(stem, caption, category, labels, **more):
    """A figure's files: the PNG stands in the report, the PDF and the provenance lie beside it."""
    png = report(f"{stem}.png", caption=f"../report/{caption}.rst", category=category, labels=labels, **more)
    return [png, f"{stem}.pdf", f"{stem}.json"]


def moving(stem, labels):
    """An animation's files: the GIF stands in the report, the provenance lies beside it."""
    gif = report(f"{stem}.gif", caption="../report/animation.rst", category="Animations", labels=labels)
    return [gif, f"{stem}.json"]


def tabulated(*files):
    """Tables with a place in the report, each under its own caption."""
    marked = []
    for file in map(Path, files):
        caption = f"../report/{file.stem.lower()}.rst"
        marked.append(report(str(file), caption=caption, category="Tables", labels={"table": file.name}))
    return marked


def stem_of(wildcards, output):
    """A figure's path without suffix."""
    return str(Path(output[0]).with_suffix(""))

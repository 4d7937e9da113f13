# What all rules share: the checked config, the names of files, the digests of the code that each stage uses
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)
from rodflow import config as configuration
from rodflow.errors import InvalidInput
from rodflow.provenance import code_digest

try:
    CONFIG = configuration.parse(config)
except InvalidInput as error:
    raise WorkflowError(f"config: {error}")

RESULTS = f"results/{CONFIG.run}"
FIGURES = f"figures/{CONFIG.run}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
CELL = "{architecture}-{optimizer}-seed{seed}"
ENVIRONMENT = str(Path(workflow.basedir) / "environment.yml")
TABLES = expand(
    "{results}/tables/{name}",
    results=RESULTS,
    name=["errors.csv", "thresholds.csv", "summary.md", "provenance.json"],
)


wildcard_constraints:
    architecture="|".join(CONFIG.architectures),
    optimizer="|".join(CONFIG.optimizers),
    flow="|".join(CONFIG.flows),
    seed=r"\d+",


def discrete_files(suffix):
    return [f"{RESULTS}/discrete/{a}-{o}-seed{s}{suffix}" for a, o, s in CONFIG.cells]


def flow_files(suffix):
    return [
        f"{RESULTS}/flows/{a}-{o}-seed{s}-{flow}{suffix}"
        for a, o, s in CONFIG.cells
        for flow in CONFIG.flows
    ]


# every stage reads this file; what a job depends on is among its params, so a newer file alone runs nothing again
rule config:
    output:
        f"{RESULTS}/config.yaml",
    params:
        settings=CONFIG.model_dump(mode="json"),
    log:
        f"{LOGS}/config.log",
    benchmark:
        f"{BENCHMARKS}/config.tsv"
    conda:
        ENVIRONMENT
    localrule: True
    run:
        Path(output[0]).write_text(CONFIG.to_yaml())


rule dataset:
    input:
        config=ancient(rules.config.output),
    output:
        images=f"{RESULTS}/dataset.npz",
        provenance=f"{RESULTS}/dataset.json",
    params:
        settings=CONFIG.data.model_dump(mode="json"),
        code=code_digest("rodflow.stages.dataset"),
    log:
        f"{LOGS}/dataset.log",
    benchmark:
        f"{BENCHMARKS}/dataset.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    conda:
        ENVIRONMENT
    shell:
        "python -m rodflow dataset --config {input.config} --output {output.images} 2> {log} || (cat {log} >&2; exit 1)"

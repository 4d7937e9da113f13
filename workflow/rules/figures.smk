# Figures, each a target of its own, from files only; drawing never trains
FORMATS = ["png", "pdf"]


def all_figures():
    names = [f"cells/{a}-{o}" for a in CONFIG.architectures for o in CONFIG.optimizers]
    names += [f"architectures/{a}" for a in CONFIG.architectures] + ["overview"]
    return expand("{figures}/{name}.{format}", figures=FIGURES, name=names, format=FORMATS)


def series_of(architecture, optimizers):
    """The records of the discrete runs and the flows of these cells, with their summaries."""
    cells = [f"{architecture}-{o}-seed{s}" for o in optimizers for s in CONFIG.seeds]
    stems = [f"{RESULTS}/discrete/{c}" for c in cells]
    stems += [f"{RESULTS}/flows/{c}-{flow}" for c in cells for flow in CONFIG.flows]
    return [stem + suffix for stem in stems for suffix in (".parquet", ".json")]


DRAW = "python -m rodflow figure --config {input.config} --results {params.results} --output {params.stem}"


rule cell_figure:
    input:
        lambda wildcards: series_of(wildcards.architecture, [wildcards.optimizer]),
        config=ancient(rules.config.output),
    output:
        multiext(f"{FIGURES}/cells/{{architecture}}-{{optimizer}}", ".png", ".pdf", ".json"),
    params:
        code=code_digest("rodflow.stages.figure"),
        results=RESULTS,
        stem=lambda wildcards: f"{FIGURES}/cells/{wildcards.architecture}-{wildcards.optimizer}",
    log:
        f"{LOGS}/figures/cells/{{architecture}}-{{optimizer}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/cells/{{architecture}}-{{optimizer}}.tsv"
    priority: 10
    threads: 1
    resources:
        mem_mb=1000,
    conda:
        ENVIRONMENT
    shell:
        DRAW
        + " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} cell 2> {log} || (cat {log} >&2; exit 1)"


rule architecture_figure:
    input:
        lambda wildcards: series_of(wildcards.architecture, CONFIG.optimizers),
        config=ancient(rules.config.output),
    output:
        multiext(f"{FIGURES}/architectures/{{architecture}}", ".png", ".pdf", ".json"),
    params:
        code=code_digest("rodflow.stages.figure"),
        results=RESULTS,
        stem=lambda wildcards: f"{FIGURES}/architectures/{wildcards.architecture}",
    log:
        f"{LOGS}/figures/architectures/{{architecture}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/architectures/{{architecture}}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    conda:
        ENVIRONMENT
    shell:
        DRAW + " --architecture {wildcards.architecture} architecture 2> {log} || (cat {log} >&2; exit 1)"


rule overview_figure:
    input:
        f"{RESULTS}/tables/errors.csv",
        config=ancient(rules.config.output),
    output:
        multiext(f"{FIGURES}/overview", ".png", ".pdf", ".json"),
    params:
        code=code_digest("rodflow.stages.figure"),
        results=RESULTS,
        stem=f"{FIGURES}/overview",
    log:
        f"{LOGS}/figures/overview.log",
    benchmark:
        f"{BENCHMARKS}/figures/overview.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    conda:
        ENVIRONMENT
    shell:
        DRAW + " overview 2> {log} || (cat {log} >&2; exit 1)"

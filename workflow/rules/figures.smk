# Figures, each a target of its own, from files only; drawing never trains


rule cell_figure:
    input:
        lambda wildcards: files_of(THERE.of(wildcards.architecture, wildcards.optimizer)),
    output:
        drawn(
            f"{FIGURES}/cells/{{architecture}}-{{optimizer}}",
            caption="cell",
            category="Cells",
            subcategory="{architecture}",
            labels={"architecture": "{architecture}", "optimizer": "{optimizer}"},
        ),
    log:
        f"{LOGS}/figures/cells/{{architecture}}-{{optimizer}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/cells/{{architecture}}-{{optimizer}}.tsv"
    priority: 10
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        config=config_file,
        code=code_digest("rodflow.pipeline.stages.figure", "rodflow.catalogue"),
        results=results_of,
        stem=stem_of,
        figure=lambda wildcards: f"cell --architecture {wildcards.architecture} --optimizer {wildcards.optimizer}",
        incomplete=lambda wildcards: accepting(lambda whole: whole.of(wildcards.architecture, wildcards.optimizer)),
    shell:
        "python -m rodflow figure --config {params.config} --results {params.results} --output {params.stem}"
        " {params.incomplete} {params.figure} 2> {log}"


use rule cell_figure as architecture_figure with:
    input:
        lambda wildcards: files_of(THERE.of(wildcards.architecture)),
    output:
        drawn(
            f"{FIGURES}/architectures/{{architecture}}",
            caption="architecture",
            category="Architectures",
            labels={"architecture": "{architecture}"},
        ),
    log:
        f"{LOGS}/figures/architectures/{{architecture}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/architectures/{{architecture}}.tsv"
    priority: 0
    params:
        figure=lambda wildcards: f"architecture --architecture {wildcards.architecture}",
        incomplete=lambda wildcards: accepting(lambda whole: whole.of(wildcards.architecture)),


use rule cell_figure as table_figure with:
    input:
        lambda wildcards: f"{RESULTS}/tables/{TABLE_OF[wildcards.kind]}",
    output:
        drawn(f"{FIGURES}/{{kind}}", caption="all_cells", category="All cells", labels={"figure": "{kind}"}),
    log:
        f"{LOGS}/figures/{{kind}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/{{kind}}.tsv"
    priority: 0
    params:
        figure=lambda wildcards: wildcards.kind,
        incomplete="",

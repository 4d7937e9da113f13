# The precision study: a table of the cells that were trained and followed in float32, float64 and float64 with a
# perturbation, by the rules of the grid


STUDIES = Job("study", CELL_PATTERN).label

if not INCOMPLETE:

    rule precision:
        input:
            lambda wildcards: files(job_of("study")(wildcards).needs(CONFIG)),
        output:
            series=f"{RESULTS}/{STUDIES}.parquet",
            summary=f"{RESULTS}/{STUDIES}.json",
        log:
            f"{LOGS}/{STUDIES}.log",
        benchmark:
            f"{BENCHMARKS}/{STUDIES}.tsv"
        wildcard_constraints:
            architecture=STUDIED_ARCHITECTURES,
            optimizer=STUDIED_OPTIMIZERS,
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            config=config_file,
            settings=settings_of("study"),
            code=code_of("study"),
            results=lambda wildcards, output: str(Path(output[0]).parents[1]),
        shell:
            "python -m rodflow precision --config {params.config} --results {params.results}"
            " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed} 2> {log}"


rule precision_table:
    input:
        files(Job("study", cell) for cell in THERE.studies),
    output:
        tabulated(PRECISION_TABLES[0]),
        PRECISION_TABLES[1],
    log:
        f"{LOGS}/precision_table.log",
    benchmark:
        f"{BENCHMARKS}/precision_table.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=config_file,
        settings=CONFIG.precision_studies,
        code=code_digest("rodflow.pipeline.stages.precision_table"),
        results=results_of,
        incomplete=accepting(lambda whole: whole.studies),
    shell:
        "python -m rodflow precision-table --config {params.config} --results {params.results} {params.incomplete}"
        " 2> {log}"


use rule cell_figure as precision_figure with:
    input:
        lambda wildcards: files(
            [
                Job(
                    "study",
                    Cell(wildcards.architecture, wildcards.optimizer, CONFIG.seeds_for(wildcards.architecture)[0]),
                )
            ]
        ),
    output:
        drawn(
            f"{FIGURES}/precision/{{architecture}}-{{optimizer}}",
            caption="precision_study",
            category="Precision",
            labels={"architecture": "{architecture}", "optimizer": "{optimizer}"},
        ),
    log:
        f"{LOGS}/figures/precision/{{architecture}}-{{optimizer}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/precision/{{architecture}}-{{optimizer}}.tsv"
    wildcard_constraints:
        architecture=STUDIED_ARCHITECTURES,
        optimizer=STUDIED_OPTIMIZERS,
    priority: 0
    params:
        figure=lambda wildcards: f"precision --architecture {wildcards.architecture} --optimizer {wildcards.optimizer}",
        incomplete="",

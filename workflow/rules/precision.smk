# The precision study: cells trained in float32, float64 and float64 with a perturbation; independent of the grid


if not INCOMPLETE:

    rule precision:
        input:
            images=rules.dataset.output.images,
        output:
            series=f"{RESULTS}/precision/{CELL}.parquet",
            summary=f"{RESULTS}/precision/{CELL}.json",
        log:
            f"{LOGS}/precision/{CELL}.log",
        benchmark:
            f"{BENCHMARKS}/precision/{CELL}.tsv"
        wildcard_constraints:
            architecture=STUDIED_ARCHITECTURES,
            optimizer=STUDIED_OPTIMIZERS,
        conda:
            ENVIRONMENT
        threads: CONFIG.threads
        resources:
            gpu=GPU,
            mem_mb=4000,
            runtime=480,
        params:
            config=CONFIG_FILE,
            settings=lambda wildcards: study_settings(CONFIG, wildcards.architecture, wildcards.optimizer),
            code=code_digest("rodflow.stages.precision"),
        shell:
            "OMP_NUM_THREADS={threads} python -m rodflow precision --config {params.config}"
            " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed}"
            " --dataset {input.images} --output {output.series} 2> {log} || (cat {log} >&2; exit 1)"


rule precision_table:
    input:
        studies_of(THERE.studies),
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
        config=CONFIG_FILE,
        settings=CONFIG.precision_studies,
        code=code_digest("rodflow.stages.precision_table"),
        results=results_of,
        incomplete=accepting(lambda whole: whole.studies),
    shell:
        "python -m rodflow precision-table --config {params.config} --results {params.results} {params.incomplete}"
        " 2> {log} || (cat {log} >&2; exit 1)"


rule precision_figure:
    input:
        lambda wildcards: studies_of(
            [(wildcards.architecture, wildcards.optimizer, CONFIG.seeds_for(wildcards.architecture)[0])]
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
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        config=CONFIG_FILE,
        code=code_digest("rodflow.stages.figure"),
        results=results_of,
        stem=stem_of,
    shell:
        "python -m rodflow figure --config {params.config} --results {params.results} --output {params.stem}"
        " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} precision"
        " 2> {log} || (cat {log} >&2; exit 1)"

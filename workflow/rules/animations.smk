# What moves: a cell's run and flows in a plane, and animations of it and of toy landscapes


PLANES = Job("plane", CELL_PATTERN).label

if not INCOMPLETE:

    rule plane:
        input:
            images=rules.dataset.output.images,
            run=str(Job("discrete", CELL_PATTERN).file(RESULTS, ".h5")),
        output:
            series=f"{RESULTS}/{PLANES}.parquet",
            summary=f"{RESULTS}/{PLANES}.json",
        log:
            f"{LOGS}/{PLANES}.log",
        benchmark:
            f"{BENCHMARKS}/{PLANES}.tsv"
        conda:
            ENVIRONMENT
        threads: CONFIG.threads
        resources:
            gpu=GPU,
            mem_mb=MEMORY_MB,
            runtime=MINUTES,
        params:
            config=config_file,
            settings=settings_of("plane"),
            code=code_of("plane"),
        shell:
            "OMP_NUM_THREADS={threads} python -m rodflow plane --config {params.config}"
            " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed}"
            " --dataset {input.images} --discrete {input.run} --output {output.series} 2> {log}"


rule landscape_animation:
    input:
        **LANDSCAPE_FILES,
    output:
        moving(f"{FIGURES}/animations/{{landscape}}", labels={"landscape": "{landscape}"}),
    log:
        f"{LOGS}/animations/{{landscape}}.log",
    benchmark:
        f"{BENCHMARKS}/animations/{{landscape}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        config=config_file,
        code=code_digest("rodflow.pipeline.stages.animation", "rodflow.catalogue"),
        results=results_of,
        stem=stem_of,
        animation=lambda wildcards: f"landscape --landscape {wildcards.landscape}",
    shell:
        "python -m rodflow animation --config {params.config} --results {params.results} --output {params.stem}"
        " {params.animation} 2> {log}"


use rule landscape_animation as cell_animation with:
    input:
        lambda wildcards: moving_files(wildcards.architecture, wildcards.optimizer),
    output:
        moving(
            f"{FIGURES}/animations/{{architecture}}-{{optimizer}}",
            labels={"architecture": "{architecture}", "optimizer": "{optimizer}"},
        ),
    log:
        f"{LOGS}/animations/{{architecture}}-{{optimizer}}.log",
    benchmark:
        f"{BENCHMARKS}/animations/{{architecture}}-{{optimizer}}.tsv"
    params:
        animation=lambda wildcards: f"cell --architecture {wildcards.architecture} --optimizer {wildcards.optimizer}",

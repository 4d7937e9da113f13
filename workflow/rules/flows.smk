# One integration per cell and flow, from the cell's discrete states
FOLLOWED = pattern("flow", "{flow}")


rule flow:
    input:
        images=rules.dataset.output.images,
        run=rules.discrete.output.run,
    output:
        series=f"{RESULTS}/{FOLLOWED}.parquet",
        summary=f"{RESULTS}/{FOLLOWED}.json",
    log:
        f"{LOGS}/{FOLLOWED}.log",
    benchmark:
        f"{BENCHMARKS}/{FOLLOWED}.tsv"
    wildcard_constraints:
        architecture=TRAINED_ARCHITECTURES,
        optimizer=TRAINED_OPTIMIZERS,
    conda:
        ENVIRONMENT
    threads: CONFIG.threads
    resources:
        gpu=GPU,
        mem_mb=MEMORY_MB,
        runtime=MINUTES,
    params:
        config=config_file,
        settings=settings_of("flow"),
        code=code_of("flow"),
        variant=option_of_variant,
    shell:
        "OMP_NUM_THREADS={threads} python -m rodflow flow --config {params.config} {params.variant}"
        " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed}"
        " --flow {wildcards.flow} --dataset {input.images} --discrete {input.run} --output {output.series} 2> {log}"

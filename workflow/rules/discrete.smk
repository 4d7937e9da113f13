# One discrete full-batch run per cell, and one in each variant of a precision study
RUNS = pattern("discrete")


rule discrete:
    input:
        images=rules.dataset.output.images,
    output:
        run=f"{RESULTS}/{RUNS}.h5",
        records=f"{RESULTS}/{RUNS}.parquet",
        steps=f"{RESULTS}/{RUNS}-steps.parquet",
        summary=f"{RESULTS}/{RUNS}.json",
    log:
        f"{LOGS}/{RUNS}.log",
    benchmark:
        f"{BENCHMARKS}/{RUNS}.tsv"
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
        settings=settings_of("discrete"),
        code=code_of("discrete"),
        variant=option_of_variant,
    shell:
        "OMP_NUM_THREADS={threads} python -m rodflow discrete --config {params.config} {params.variant}"
        " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed}"
        " --dataset {input.images} --output {output.run} 2> {log}"

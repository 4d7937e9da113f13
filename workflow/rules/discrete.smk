# One discrete full-batch run per cell, and one in each variant of a precision study
rule discrete:
    input:
        images=rules.dataset.output.images,
    output:
        run=f"{RESULTS}/{{variant}}discrete/{CELL_PATTERN}.h5",
        records=f"{RESULTS}/{{variant}}discrete/{CELL_PATTERN}.parquet",
        steps=f"{RESULTS}/{{variant}}discrete/{CELL_PATTERN}-steps.parquet",
        summary=f"{RESULTS}/{{variant}}discrete/{CELL_PATTERN}.json",
    log:
        f"{LOGS}/{{variant}}discrete/{CELL_PATTERN}.log",
    benchmark:
        f"{BENCHMARKS}/{{variant}}discrete/{CELL_PATTERN}.tsv"
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
        settings=lambda wildcards: CONFIG.variant(variant_of(wildcards)).discrete_settings(cell_of(wildcards)),
        code=lambda wildcards: discrete_code(CONFIG, cell_of(wildcards)),
        variant=option_of_variant,
    shell:
        "OMP_NUM_THREADS={threads} python -m rodflow discrete --config {params.config} {params.variant}"
        " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed}"
        " --dataset {input.images} --output {output.run} 2> {log}"

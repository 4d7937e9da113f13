# One integration per cell and flow, from the cell's discrete states
rule flow:
    input:
        images=rules.dataset.output.images,
        run=rules.discrete.output.run,
    output:
        series=f"{RESULTS}/{{variant}}flows/{CELL_PATTERN}-{{flow}}.parquet",
        summary=f"{RESULTS}/{{variant}}flows/{CELL_PATTERN}-{{flow}}.json",
    log:
        f"{LOGS}/{{variant}}flows/{CELL_PATTERN}-{{flow}}.log",
    benchmark:
        f"{BENCHMARKS}/{{variant}}flows/{CELL_PATTERN}-{{flow}}.tsv"
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
        settings=lambda wildcards: CONFIG.variant(variant_of(wildcards)).flow_settings(
            cell_of(wildcards), wildcards.flow
        ),
        code=lambda wildcards: flow_code(CONFIG, cell_of(wildcards), wildcards.flow),
        variant=option_of_variant,
    shell:
        "OMP_NUM_THREADS={threads} python -m rodflow flow --config {params.config} {params.variant}"
        " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed}"
        " --flow {wildcards.flow} --dataset {input.images} --discrete {input.run} --output {output.series} 2> {log}"

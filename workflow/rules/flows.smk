# One integration per cell and flow, from the cell's discrete states
rule flow:
    input:
        images=rules.dataset.output.images,
        run=rules.discrete.output.run,
    output:
        series=f"{RESULTS}/flows/{CELL}-{{flow}}.parquet",
        summary=f"{RESULTS}/flows/{CELL}-{{flow}}.json",
    log:
        f"{LOGS}/flows/{CELL}-{{flow}}.log",
    benchmark:
        f"{BENCHMARKS}/flows/{CELL}-{{flow}}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.threads
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=480,
    params:
        config=CONFIG_FILE,
        settings=lambda wildcards: CONFIG.flow_settings(wildcards.architecture, wildcards.optimizer, wildcards.flow),
        code=code_digest("rodflow.stages.flow"),
    shell:
        "OMP_NUM_THREADS={threads} python -m rodflow flow --config {params.config}"
        " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed}"
        " --flow {wildcards.flow} --dataset {input.images} --discrete {input.run} --output {output.series}"
        " 2> {log} || (cat {log} >&2; exit 1)"

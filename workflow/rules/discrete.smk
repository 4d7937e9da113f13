# One discrete full-batch run per cell
rule discrete:
    input:
        images=rules.dataset.output.images,
    output:
        run=f"{RESULTS}/discrete/{CELL}.h5",
        records=f"{RESULTS}/discrete/{CELL}.parquet",
        summary=f"{RESULTS}/discrete/{CELL}.json",
    log:
        f"{LOGS}/discrete/{CELL}.log",
    benchmark:
        f"{BENCHMARKS}/discrete/{CELL}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.threads
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=240,
    params:
        config=CONFIG_FILE,
        settings=lambda wildcards: CONFIG.discrete_settings(wildcards.architecture, wildcards.optimizer),
        code=code_digest("rodflow.stages.discrete"),
    shell:
        "OMP_NUM_THREADS={threads} python -m rodflow discrete --config {params.config}"
        " --architecture {wildcards.architecture} --optimizer {wildcards.optimizer} --seed {wildcards.seed}"
        " --dataset {input.images} --output {output.run} 2> {log} || (cat {log} >&2; exit 1)"

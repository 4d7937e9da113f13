# Learning rates at which the config's cells enter their edge gently and stay there, in a config. Not part of `all`.
SCANNED = {(cell.architecture, cell.optimizer): cell for cell in CONFIG.cells + CONFIG.precision_studies}


rule scan:
    input:
        images=rules.dataset.output.images,
    output:
        f"{RESULTS}/scan.yaml",
    log:
        f"{LOGS}/scan.log",
    benchmark:
        f"{BENCHMARKS}/scan.tsv"
    conda:
        ENVIRONMENT
    threads: len(SCANNED) * CONFIG.threads
    resources:
        gpu=GPU,
        mem_mb=8000,
        runtime=240,
    params:
        config=config_file,
        settings=CONFIG.settings,
        code=[
            code_digest("rodflow.pipeline.stages.scan"),
            *(Job("discrete", cell).code(CONFIG) for cell in SCANNED.values()),
        ],
        jobs=lambda wildcards, threads: max(1, threads // CONFIG.threads),
    shell:
        "OMP_NUM_THREADS=1 python -m rodflow scan --config {params.config} --dataset {input.images} --output {output}"
        " --jobs {params.jobs} 2> {log}"

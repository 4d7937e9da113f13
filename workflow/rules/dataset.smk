# The examples that the config asks for


rule dataset:
    input:
        [CONFIG.data.file] if CONFIG.data.file else [],
    output:
        images=f"{RESULTS}/dataset.npz",
        provenance=f"{RESULTS}/dataset.json",
    log:
        f"{LOGS}/dataset.log",
    benchmark:
        f"{BENCHMARKS}/dataset.tsv"
    localrule: True  # a cluster's nodes may have no network, and this may fetch
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=config_file,
        settings=Job("dataset").settings(CONFIG),
        code=Job("dataset").code(CONFIG),
    shell:
        "python -m rodflow dataset --config {params.config} --output {output.images} 2> {log}"

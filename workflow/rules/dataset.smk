# The resolved config, and the images that it asks for


# every stage reads this file; what a job depends on is among its params, so a newer file alone runs nothing again
rule config:
    output:
        f"{RESULTS}/config.yaml",
    log:
        f"{LOGS}/config.log",
    benchmark:
        f"{BENCHMARKS}/config.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        settings=CONFIG.model_dump(mode="json"),
    run:
        Path(output[0]).write_text(CONFIG.to_yaml())


rule dataset:
    input:
        config=ancient(rules.config.output[0]),
    output:
        images=f"{RESULTS}/dataset.npz",
        provenance=f"{RESULTS}/dataset.json",
    log:
        f"{LOGS}/dataset.log",
    benchmark:
        f"{BENCHMARKS}/dataset.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
    params:
        settings=CONFIG.data.model_dump(mode="json"),
        code=code_digest("rodflow.stages.dataset"),
    shell:
        "python -m rodflow dataset --config {input.config} --output {output.images} 2> {log} || (cat {log} >&2; exit 1)"

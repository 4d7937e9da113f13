# The reference, a finished run in a small folder that is committed, other runs in folders of it; and two of its cells run
# again. Not part of `all`.
# Neither rule has an output: Snakemake removes a failed job's, and here that would be what is committed or what disagrees.

REFERENCE = "reference" if CONFIG.run == "reference" else f"reference/{CONFIG.run}"


rule reference:
    input:
        TABLES,
        PRECISION_TABLES if CONFIG.precision_cells else [],
        files_of(THERE.flows),
        rules.dataset.output.provenance,
    log:
        f"{LOGS}/reference.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=config_file,
        results=results_of,
        output=REFERENCE,
    shell:
        "python -m rodflow reference --config {params.config} --results {params.results} --output {params.output}"
        " 2> {log}"


rule:
    name:
        "reference-check"
    log:
        f"{LOGS}/reference-check.log",
    conda:
        ENVIRONMENT
    threads: CONFIG.threads
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=240,
    params:
        config=config_file,
        reference=REFERENCE,
    shell:
        "OMP_NUM_THREADS={threads} python -m rodflow reference-check --config {params.config}"
        " --reference {params.reference} 2> {log}"

# errors.csv, thresholds.csv and their summary, from all cells
rule tables:
    input:
        files_of(CONFIG.cells),
    output:
        TABLES,
    log:
        f"{LOGS}/tables.log",
    benchmark:
        f"{BENCHMARKS}/tables.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
    params:
        config=CONFIG_FILE,
        settings=CONFIG.settings,
        code=code_digest("rodflow.stages.tables"),
        results=results_of,
    shell:
        "python -m rodflow tables --config {params.config} --results {params.results} 2> {log} || (cat {log} >&2; exit 1)"

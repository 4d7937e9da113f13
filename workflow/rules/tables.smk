# The tables and their summary, from all cells; the paper's claims judged by them


rule tables:
    input:
        files_of(THERE.flows),
    output:
        tabulated(*TABLES[:-1]),
        TABLES[-1],
    log:
        f"{LOGS}/tables.log",
    benchmark:
        f"{BENCHMARKS}/tables.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=config_file,
        settings=CONFIG.settings,
        code=code_digest("rodflow.pipeline.stages.tables"),
        results=results_of,
        missing=MISSING,
        incomplete=accepting(lambda whole: whole),
    shell:
        "python -m rodflow tables --config {params.config} --results {params.results} {params.incomplete}" " 2> {log}"


rule replication:
    input:
        TABLES,
        [str(Job("discrete", cell).file(RESULTS, ".json")) for cell in THERE.flows],
    output:
        tabulated(REPLICATION),
    log:
        f"{LOGS}/replication.log",
    benchmark:
        f"{BENCHMARKS}/replication.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        runtime=10,
        mem_mb=1000,
    params:
        config=config_file,
        settings=CONFIG.settings,
        code=code_digest("rodflow.pipeline.stages.replication"),
        results=results_of,
    shell:
        "python -m rodflow replication --config {params.config} --results {params.results}" " 2> {log}"

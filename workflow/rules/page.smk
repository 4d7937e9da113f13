# One page for the whole run, beside its figures


rule page:
    input:
        TABLES,
        files_of(THERE.flows),
        all_figures(),
        all_animations(),
        precision_outputs(),
    output:
        page=f"{FIGURES}/index.html",
    log:
        f"{LOGS}/page.log",
    benchmark:
        f"{BENCHMARKS}/page.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        runtime=10,
        mem_mb=1000,
    params:
        config=config_file,
        settings=CONFIG.settings,
        code=code_digest("rodflow.pipeline.stages.page", "rodflow.catalogue"),
        results=results_of,
        missing=MISSING,
        incomplete=accepting(lambda whole: whole),
    shell:
        "python -m rodflow page --config {params.config} --results {params.results} --output {output.page}"
        " {params.incomplete}"
        " 2> {log}"

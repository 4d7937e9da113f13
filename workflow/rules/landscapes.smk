# Toy landscapes: gradient descent and its flows in the plane, and a figure of each
wildcard_constraints:
    landscape="|".join(CONFIG.landscapes) or "none",


LANDSCAPE_FILES = {
    name: str(file)
    for name, file in zip(("series", "grid", "summary"), Job("landscape", name="{landscape}").files(RESULTS))
}


if not INCOMPLETE:

    rule landscape:
        output:
            **LANDSCAPE_FILES,
        log:
            f"{LOGS}/landscapes/{{landscape}}.log",
        benchmark:
            f"{BENCHMARKS}/landscapes/{{landscape}}.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            config=config_file,
            code=lambda wildcards: Job("landscape", name=wildcards.landscape).code(CONFIG),
        shell:
            "OMP_NUM_THREADS={threads} python -m rodflow landscape --config {params.config}"
            " --landscape {wildcards.landscape} --output {output.series} 2> {log}"


use rule cell_figure as landscape_figure with:
    input:
        **LANDSCAPE_FILES,
    output:
        drawn(
            f"{FIGURES}/landscapes/{{landscape}}",
            caption="landscape",
            category="Landscapes",
            labels={"landscape": "{landscape}"},
        ),
    log:
        f"{LOGS}/figures/landscapes/{{landscape}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/landscapes/{{landscape}}.tsv"
    priority: 0
    params:
        figure=lambda wildcards: f"landscape --landscape {wildcards.landscape}",
        incomplete="",

# config -> images -> discrete runs -> flows -> tables -> figures; see README.md
from snakemake.utils import min_version

min_version("9.0")


# A file that the command line names stands alone: what it leaves out has the schema's defaults, as with python -m rodflow
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


if not INCOMPLETE:  # an incomplete run's tables are of what is there: nothing is trained or integrated for them

    include: "workflow/rules/dataset.smk"
    include: "workflow/rules/discrete.smk"
    include: "workflow/rules/flows.smk"
    include: "workflow/rules/scan.smk"


include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/precision.smk"
include: "workflow/rules/landscapes.smk"
include: "workflow/rules/animations.smk"
include: "workflow/rules/page.smk"


if not INCOMPLETE:  # the reference is a whole run

    include: "workflow/rules/reference.smk"


onstart:
    if any(job.rule.name == "tables" for job in workflow.dag.needrun_jobs()):
        try:
            require_no_fewer_cells(CONFIG, RESULTS, OVERWRITE)
        except InvalidInput as error:
            raise WorkflowError(f"config: {error}")
    if workflow.local_exec:  # a cluster's jobs run where its scheduler puts them
        FORK_SERVER.start(f"{LOGS}/forkserver.log")
    write_config()


onsuccess:
    from rodflow.pipeline.stages.tables import warned

    FORK_SERVER.stop()
    for line in warned(Path(RESULTS)):
        print(f"Warning: {line}", file=sys.stderr)
    if MISSING:
        print(f"Incomplete: {len(MISSING)} missing, see {RESULTS}/tables/summary.md", file=sys.stderr)


onerror:
    FORK_SERVER.stop()


rule all:
    default_target: True
    input:
        TABLES,
        all_figures(),
        all_animations(),
        precision_outputs(),
        REPLICATION,
        rules.page.output,

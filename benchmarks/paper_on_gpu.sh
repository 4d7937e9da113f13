#!/usr/bin/env bash
# The paper's experiment in calls of at most ten minutes, each of which goes on where the last one stopped, also on another
# machine:
#
#     DATA=cifar10.npz benchmarks/paper_on_gpu.sh FOLDER
#
# FOLDER keeps what is small, which is all that the next call needs: the table of what a step is made of (gpu.csv), an archive
# (paper.tar.gz) of the files up to LARGEST (20M) of the run, its checkpoints among them, and of what Snakemake knows of them, and
# the table of errors and seconds (paper.csv). A cell whose states are larger than that is made again on another machine until all
# its flows are done. The exit status is 0 when all is done, 3 when there was no time for all.
#
# DATA: an .npz of CIFAR-10, see README; unset: the images that the config names. Also CONFIG, FLOWS (fewer of the config's),
# JOBS (side by side on the GPU), LIMIT (seconds), WORK (a folder for the runs' states, which are large), DTYPES and EXAMPLES (of
# the table).
#
# WHEELS: for a machine without a package index, a folder with Snakemake. Where there is an index, this fills it (24 MB, 16 of
# them PuLP with its solver):
#
#     pip wheel --no-deps --constraint constraints.txt --wheel-dir WHEELS $(benchmarks/paper_on_gpu.sh --wheels)
set -euo pipefail
# Snakemake and what it needs beside what rodflow needs
wheels=(snakemake argparse-dataclass attrs certifi charset-normalizer conda-inject configargparse connection-pool docutils dpath
    fastjsonschema gitdb gitpython greenlet humanfriendly idna immutables jsonschema jsonschema-specifications jupyter-core
    nbformat platformdirs psutil pulp referencing requests rpds-py smart-open smmap snakemake-interface-common
    snakemake-interface-executor-plugins snakemake-interface-logger-plugins snakemake-interface-report-plugins
    snakemake-interface-scheduler-plugins snakemake-interface-storage-plugins sqlalchemy sqlmodel tabulate tenacity throttler
    traitlets urllib3 wrapt yte)
if [ "${1:-}" = --wheels ]; then
    echo "${wheels[@]}"
    exit
fi
folder=$(realpath -m "${1:?"usage: DATA=cifar10.npz $0 FOLDER"}")
data=${DATA:+$(realpath "$DATA")}
wheelhouse=${WHEELS:+$(realpath "$WHEELS")}
end=$((SECONDS + ${LIMIT:-570}))
project=$(realpath "$(dirname "$0")/..")
work=$(realpath -m "${WORK:-$folder/work}")
cd "$project"
mkdir -p "$folder" "$work"
if [ -n "$wheelhouse" ] && ! python -c "import snakemake" 2> /dev/null; then
    python -m pip install --quiet --no-index --find-links "$wheelhouse" "${wheels[@]}"
fi

python - "${CONFIG:-config/paper.yaml}" "${FLOWS:-}" "${data:+data.npz}" > "$work/config.yaml" << 'PYTHON'
import sys
from pathlib import Path

import yaml

config, flows, data = sys.argv[1:]
settings = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
if flows:
    settings["flows"] = flows.replace(",", " ").split()
if data:
    settings["data"]["file"] = data
yaml.safe_dump(settings, sys.stdout, sort_keys=False)
PYTHON
run=$(sed -n 's/^run: //p' "$work/config.yaml")

cd "$work"
export PYTHONPATH="$project${PYTHONPATH:+:$PYTHONPATH}"
if [ -n "$data" ]; then # under one name and date on every machine: a newer file would make all again
    cp "$data" data.npz
    touch -d 2000-01-01 data.npz
fi
if [ ! -e "$folder/gpu.csv" ]; then
    read -ra chosen <<< "${DTYPES:+--dtypes $DTYPES} ${EXAMPLES:+--examples $EXAMPLES}"
    python -m benchmarks gpu --paper config.yaml "${chosen[@]}" --tables "$folder" --page "$folder/gpu.md"
fi
if [ -e "$folder/paper.tar.gz" ]; then
    tar --extract --keep-newer-files --warning=no-ignore-newer --file "$folder/paper.tar.gz"
fi

# Ctrl-C for all processes at the limit: each job writes its checkpoint. A lock is of a call that was killed.
workflow=(python -m snakemake --snakefile "$project/Snakefile" --workflow-profile "$project/profiles/default"
    --configfile config.yaml --cores all --resources "gpu=${JOBS:-4}" --nolock)
left=$((end - SECONDS))
status=0
timeout --signal=INT --kill-after=60 "$((left > 1 ? left : 1))" \
    "${workflow[@]}" -- "results/$run/tables/REPLICATION.md" || status=$?
if [ "$status" != 0 ] && [ "$SECONDS" -ge "$end" ]; then # also where a job had to be killed
    status=3
fi
mkdir -p "results/$run" .snakemake/metadata # a call may end before there is any
# Images of a later date would make all again
find "results/$run" .snakemake/metadata -type f \( -size "-${LARGEST:-20M}" -o -name dataset.npz \) -print0 \
    | tar --create --gzip --format posix --null --files-from - --file "$folder/paper.tar.gz.new"
mv "$folder/paper.tar.gz.new" "$folder/paper.tar.gz"
if [ "$status" != 0 ] && compgen -G "results/$run/flows/*.json" > /dev/null; then # tables of what is finished
    "${workflow[@]}" --config incomplete=true -- "results/$run/tables/errors.csv" || true
fi
if [ -e "results/$run/tables/errors.csv" ]; then
    python -m benchmarks paper --paper config.yaml --results "results/$run" --tables "$folder" --page "$folder/gpu.md"
fi
exit "$status"

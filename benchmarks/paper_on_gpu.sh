#!/usr/bin/env bash
# The paper's experiment in calls of at most ten minutes, each of which goes on where the last one stopped, also on another
# machine; without Snakemake:
#
#     DATA=cifar10.npz benchmarks/paper_on_gpu.sh FOLDER
#
# FOLDER keeps what is small, which is all that the next call needs: the table of what a step is made of (gpu.csv), and an
# archive of the finished runs, flows and tables (paper.zip), which `python -m rodflow run --unpack` takes up, and the table of
# their errors and seconds (paper.csv). A cell that is half done is made again on another machine. The exit status is 0 when
# all is done, 3 when there was no time for all.
#
# DATA: an .npz of CIFAR-10, see README; unset: the images that the config names. Also CONFIG, FLOWS (fewer of the config's),
# JOBS (side by side on the GPU), LIMIT (seconds), WORK (a folder for the runs' states, which are large), DTYPES and EXAMPLES (of
# the table).
set -euo pipefail
folder=$(realpath -m "${1:?"usage: DATA=cifar10.npz $0 FOLDER"}")
end=$((SECONDS + ${LIMIT:-570}))
cd "$(dirname "$0")/.."
mkdir -p "$folder"

python - "${CONFIG:-config/paper.yaml}" "${FLOWS:-}" "${DATA:-}" > "$folder/config.yaml" << 'PYTHON'
import sys
from pathlib import Path

import yaml

config, flows, data = sys.argv[1:]
settings = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
if flows:
    settings["flows"] = flows.replace(",", " ").split()
if data:
    settings["data"]["file"] = str(Path(data).resolve())
yaml.safe_dump(settings, sys.stdout, sort_keys=False)
PYTHON

if [ ! -e "$folder/gpu.csv" ]; then
    read -ra chosen <<< "${DTYPES:+--dtypes $DTYPES} ${EXAMPLES:+--examples $EXAMPLES}"
    python -m benchmarks gpu --paper "$folder/config.yaml" "${chosen[@]}" --tables "$folder" --page "$folder/gpu.md"
fi
unpack=()
if [ -e "$folder/paper.zip" ]; then
    unpack=(--unpack "$folder/paper.zip")
fi
left=$((end - SECONDS))
work="${WORK:-$folder/work}"
status=0
python -m rodflow run --config "$folder/config.yaml" --root "$work" --jobs "${JOBS:-4}" \
    --time-limit "$((left > 1 ? left : 1))" "${unpack[@]}" --pack "$folder/paper.zip" || status=$?
run=$(sed -n 's/^run: //p' "$folder/config.yaml")
if [ -e "$work/results/$run/tables/errors.csv" ]; then
    python -m benchmarks paper --results "$work/results/$run" --tables "$folder" --page "$folder/gpu.md"
fi
exit "$status"

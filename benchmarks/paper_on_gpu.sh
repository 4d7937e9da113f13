#!/usr/bin/env bash
# The paper's experiment in calls of at most ten minutes, each of which goes on where the last one stopped, also on another
# machine, without Snakemake:
#
#     DATA=cifar10.npz benchmarks/paper_on_gpu.sh FOLDER
#
# FOLDER keeps what is small, and is all that the next call needs: the table of a step's parts (gpu.csv), and an archive of the
# finished runs, flows and tables (paper.zip; python -m rodflow run --unpack takes it up). The runs and their flows come first,
# rod flow last. The exit status is 0 when all is done and 3 when there was no time for all.
#
# DATA: an .npz of CIFAR-10 (README); empty: the config's own images. CONFIG, SECONDS_LEFT, JOBS (side by side on the GPU) and
# DTYPES can be set too.
set -euo pipefail
folder=${1:?"usage: DATA=cifar10.npz $0 FOLDER"}
config=${CONFIG:-config/paper.yaml}
end=$((SECONDS + ${SECONDS_LEFT:-570}))
mkdir -p "$folder"
folder=$(realpath "$folder")
cd "$(dirname "$0")/.."
work=${WORK:-$folder/work} # the runs' states, which are large, and checkpoints

if [ ! -e "$folder/gpu.csv" ]; then
    # shellcheck disable=SC2086 # several words
    timeout "$((end - SECONDS))" python -m benchmarks gpu --paper "$config" ${DTYPES:+--dtypes $DTYPES} ${EXAMPLES:+--examples $EXAMPLES} \
        --tables "$folder" --page "$folder/gpu.md"
fi

status=0
for flows in "stable, stable_corrected, drift_free_rod, twin, second_twin" ""; do
    # with fewer flows it is the same run: what they leave is kept when all flows are asked for
    python - "$config" "$flows" "${DATA:-}" > "$folder/config.yaml" <<'PYTHON'
import sys

import yaml

config, flows, data = sys.argv[1:]
settings = yaml.safe_load(open(config, encoding="utf-8"))
if flows:
    settings["flows"] = [flow for flow in flows.split(", ") if flow in settings["flows"]]
if data:
    settings["data"]["file"] = data
yaml.safe_dump(settings, sys.stdout, sort_keys=False)
PYTHON
    if [ "$((end - SECONDS))" -lt 1 ]; then
        status=3
        break
    fi
    unpack=()
    [ -e "$folder/paper.zip" ] && unpack=(--unpack "$folder/paper.zip")
    status=0
    python -m rodflow run --config "$folder/config.yaml" --root "$work" --jobs "${JOBS:-4}" \
        --time-limit "$((end - SECONDS))" "${unpack[@]}" --pack "$folder/paper.zip" || status=$?
    [ "$status" -eq 0 ] || break
done
exit "$status"

#!/usr/bin/env bash
# A job's state in the words that Snakemake asks for: running, success or failed.
#   status.sh JOBID
# PBS keeps finished jobs in sight of -x; one that it no longer knows has failed. Whatever else is wrong with qstat
# passes, and counts as running.
qstat -x -f "$1" 2>&1 | awk '
  /Unknown Job Id/ { state = "F" }
  $1 == "job_state" { state = $3 }
  $1 == "Exit_status" { status = $3 }
  END { print state != "F" ? "running" : status == "0" ? "success" : "failed" }'

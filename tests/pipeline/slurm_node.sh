#!/usr/bin/env bash
# Runs a command beside a Slurm of its own: controller, one node with four CPUs and one pretended GPU, on loopback.
#   tests/pipeline/slurm_node.sh COMMAND...
# Root and the packages slurm-wlm and munge are needed. Ends with the command's status, or with 70 and the daemon's
# last words where one does not start. Nothing is left: the daemons live in a process namespace that ends with the
# command, their files in a mount namespace, on a tmpfs over Slurm's default folder (jobs know no other).
set -euo pipefail

folder=/etc/slurm
if [ "${1:-}" != --inside ]; then
  for program in unshare munged slurmctld slurmd; do
    command -v $program > /dev/null || { echo "slurm_node: $program is missing (apt install slurm-wlm munge)" >&2; exit 70; }
  done
  [ "$(id -u)" = 0 ] || { echo "slurm_node: root is needed for the daemons and their namespaces" >&2; exit 70; }
  exec unshare --mount --pid --fork --kill-child --mount-proc "$0" --inside "$@"
fi
shift

mkdir -p $folder
mount -t tmpfs slurm $folder
mkdir $folder/{state,spool}
head -c 128 /dev/urandom > $folder/munge.key
chmod 400 $folder/munge.key
cat > $folder/slurm.conf <<CONFIG
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=5,bf_interval=5
MinJobAge=3600
ReturnToService=2
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 Gres=gpu:pretended:1
PartitionName=test Nodes=ALL Default=YES MaxTime=1-0
CONFIG
echo "Name=gpu Type=pretended File=/dev/null" > $folder/gres.conf

# NAME WHEN-READY COMMAND...: a daemon in the foreground, its output kept for the message when it is not ready in time
start() {
  local name=$1 ready=$2
  shift 2
  "$@" > $folder/$name.log 2>&1 &
  local process=$!
  for _ in $(seq 150); do
    if eval "$ready" > /dev/null 2>&1; then return; fi
    kill -0 $process 2> /dev/null || break
    sleep 0.2
  done
  echo "slurm_node: $name did not start; it said:" >&2
  tail -n 20 $folder/$name.log >&2
  exit 70
}

start munged "munge --no-input --socket $folder/munge.socket" \
  munged --foreground --force --socket $folder/munge.socket --key-file $folder/munge.key \
  --pid-file $folder/munged.pid --seed-file $folder/munge.seed --log-file $folder/munged.own.log
start slurmctld "scontrol ping | grep -q UP" slurmctld -D
start slurmd "sinfo --noheader --format %t | grep -qx idle" slurmd -D
"$@"

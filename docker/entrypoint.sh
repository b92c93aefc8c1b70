#!/usr/bin/env bash
# What a container runs, what each node of a cluster runs. Training, on all devices that it sees:
#
#   entrypoint.sh [--config FILE] [a.b=c …]     the words of train_ddp.py
#   entrypoint.sh PROGRAM [WORD …]              anything else: python eval.py watch …, tensorboard --logdir …
#
# From the environment (PET_*: what Kubeflow sets):
#   RANKS                     processes on this node (default: one a visible GPU, else 1)
#   NNODES                    nodes: 2, or 1:4 for as many as there are just now (default: PET_NNODES or 1)
#   NODE_RANK                 this node's number; 0 hosts the rendezvous (default: Kubeflow's, Kubernetes', Slurm's)
#   RDZV_ENDPOINT, RDZV_ID    host:port of node 0, name of the job (default: PET_MASTER_ADDR:PET_MASTER_PORT, asd)
#   RDZV_CONF, LOCAL_ADDR     torchrun's --rdzv-conf and --local-addr (by which the other nodes reach this one)
#   MAX_RESTARTS              after a lost rank or node (default: 3)
#   SHUTDOWN_TIMEOUT          seconds that ranks have to save (default: 120)
#   STOPPED_EXIT_CODE         of a run that was stopped before its end and saved (default: 0; where 0 means "done": 143)
#
# SIGTERM goes to the ranks, not to torchrun, which would call a saved run a failure: they save and leave with 0, and
# so does this. A mistake in the config ends here with 2, before torchrun can try it again and again.
set -euo pipefail

case "${1-}" in
  '' | -* | *=*) ;;
  *) exec "$@" ;;
esac

stopping=
trap 'stopping=yes' TERM INT HUP
ASD_STOPPED_FILE="$(mktemp -u)" # a rank makes it when it, or one of another node, was told to stop
export ASD_STOPPED_FILE
finish() { # with torchrun's exit code
  local code="$1"
  if [ "$code" = 0 ] && { [ -n "$stopping" ] || [ -e "$ASD_STOPPED_FILE" ]; }; then
    code="${STOPPED_EXIT_CODE:-0}"
  fi
  rm -f "$ASD_STOPPED_FILE"
  [ "$code" = 0 ] || sleep 0.5 # a failed rank has a last word after torchrun's: a container ends with this process
  exit "$code"
}

train="$(dirname "$0")/../train_ddp.py"
ranks="${RANKS:-$(python -c 'import torch; print(torch.cuda.device_count() or 1)')}" || [ -n "$stopping" ]
nodes="${NNODES:-${PET_NNODES:-1}}"
node="${NODE_RANK:-${PET_NODE_RANK:-${JOB_COMPLETION_INDEX:-${SLURM_NODEID:-}}}}"
endpoint="${RDZV_ENDPOINT:-${PET_MASTER_ADDR:-localhost}:${PET_MASTER_PORT:-0}}"
conf="${RDZV_CONF:-}"
[ "$nodes" != 1 ] || LOCAL_ADDR=localhost # a container's own name may lead nowhere
[ "$nodes" = 1 ] || [ -z "$node" ] || conf="is_host=$([ "$node" = 0 ] && echo true || echo false)${conf:+,$conf}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# With the store that torchrun shares, a node that was started again waits in vain for the address of an earlier round.
[ "$nodes" = 1 ] || export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${SHUTDOWN_TIMEOUT:-120}" # --shutdown-timeout is newer than torch 2.11

# For the most nodes that there may be: the global batch must divide over them.
code=0
RANK=0 LOCAL_WORLD_SIZE="$ranks" WORLD_SIZE=$((${nodes#*:} * ranks)) python "$train" --check "$@" || code=$?
[ -z "$stopping" ] || finish 0
[ "$code" = 0 ] || exit "$code"

# In a session of its own and deaf to SIGTERM, which Ctrl-C and some clusters send to all processes at once.
(
  trap '' TERM
  exec setsid torchrun --nnodes="$nodes" --nproc-per-node="$ranks" ${LOCAL_ADDR:+--local-addr="$LOCAL_ADDR"} \
    --rdzv-backend=c10d --rdzv-endpoint="$endpoint" --rdzv-id="${RDZV_ID:-asd}" --rdzv-conf="$conf" \
    --max-restarts="${MAX_RESTARTS:-3}" --signals-to-handle=SIGINT,SIGHUP,SIGQUIT "$train" "$@"
) &
agent=$!
code=0
wait "$agent" || code=$?
[ -n "$stopping" ] || finish "$code"

find_ranks() { # → pids; without other programs, which a signal to all processes would end
  local file stat
  pids=()
  for file in /proc/[0-9]*/stat; do
    read -r stat 2>/dev/null <"$file" || continue # pid (name) state parent …
    [[ "${stat##*) }" != ?" $agent "* ]] || pids+=("${stat%% *}")
  done
}
kill_all() { # torchrun is stopped first, or it would start its ranks again
  kill -STOP "$agent"
  find_ranks
  kill -KILL "${pids[@]}" "$agent" 2>/dev/null || true
  wait "$agent" 2>/dev/null || true
}

told='' deadline=$((SECONDS + ${SHUTDOWN_TIMEOUT:-120}))
while kill -0 "$agent" 2>/dev/null; do
  find_ranks
  if [ "${#pids[@]}" != 0 ]; then
    told=yes
    kill -TERM "${pids[@]}" 2>/dev/null || true # again and again: torchrun may have started new ones
  elif [ -z "$told" ]; then # torchrun is only starting, or waits for other nodes: there is nothing to save
    kill_all
    finish 0
  fi
  if [ "$SECONDS" -ge "$deadline" ]; then
    echo "$(date '+%F %T') error: ranks did not save within SHUTDOWN_TIMEOUT=${SHUTDOWN_TIMEOUT:-120} seconds: killed" >&2
    kill_all
    exit 1
  fi
  sleep 0.5 || true
done
code=0
wait "$agent" || code=$?
finish "$code"

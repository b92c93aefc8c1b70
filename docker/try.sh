#!/usr/bin/env bash
# Build the image and try it for real, without a container daemon: buildah, chroot isolation, nobody inside is root.
#
#   BASE=docker.io/library/python:3.12-slim-bookworm docker/try.sh [EMPTY_FOLDER]
#
# A mistake in a config ends before torchrun; two CPU ranks train the demo, narrow, on a small synthetic factory, as a
# user that the image does not know; SIGTERM to the container's entrypoint ends with a checkpoint and 0; started again it
# resumes and finishes; a watcher in a process of its own scores what training only saves, and stops when told to;
# TensorBoard serves the curves. The first thing that is not so ends the script with 1.
#
# BUILD_ARGS: more words for buildah, such as --volume … and --secret id=pip.conf,src=… for a package index of your own.
# IMAGE: the image's name; without it the image is removed at the end. Wants root, or buildah's rootless set-up.
set -euo pipefail

cd "$(dirname "$0")/.."
base="${BASE:-docker.io/library/python:3.12-slim-bookworm}"
image="${IMAGE:-localhost/asd-try}"
work="$(realpath "${1:-$(mktemp -d)}")"
read -ra build_args <<<"${BUILD_ARGS:-}"
export BUILDAH_ISOLATION=chroot
container='' board='' watcher=''

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}
clean_up() {
  for pid in $board $watcher; do kill "$pid" 2>/dev/null || true; done
  [ -z "$container" ] || buildah rm "$container" >/dev/null
  [ -n "${IMAGE:-}" ] || buildah rmi --force "$image" >/dev/null || true
}
inside() { # as user $1 in a container of the image, the rest: the command
  buildah run --user "$1" --volume "$work/data:/data" --volume "$work/runs:/runs" --env OMP_NUM_THREADS=1 --env RANKS=2 \
    "$container" -- "${@:2}"
}
# shellcheck disable=SC2016  # it is the shell inside that expands this
with_pid=(sh -c 'echo $$ >/runs/pid; exec "$@"' sh) # before a command: its process id goes to a file
wait_for() { # seconds, command
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    [ "$SECONDS" -lt "$end" ] || fail "waited $1 s in vain for: ${*:2}"
    sleep 0.5
  done
}

say "build over $base"
revision="$(git describe --always --dirty --abbrev=40)"
buildah build --format docker -f docker/Dockerfile --tag "$image" \
  --build-arg BASE="$base" --build-arg REVISION="$revision" "${build_args[@]}" .
trap clean_up EXIT
container="$(buildah from "$image")"
buildah images "$image"

say 'what the image says of itself'
of_image() { buildah inspect --type image --format "{{.Docker.Config.$1}}" "$image"; }
echo "user $(of_image User), health check $(of_image Healthcheck), $(of_image Labels)"
[ "$(of_image User)" = asd ] || fail 'its user is not asd'
mkdir -p "$work/data" "$work/runs"
rm -f "$work/runs/pid"
chown 1000 "$work/data"
chown 4321 "$work/runs"
for compiler in gcc cc g++ c++ clang; do
  ! inside 4321:4321 sh -c "command -v $compiler" 2>/dev/null || fail "the image has $compiler"
done
inside 1000:1000 sh -c '! touch /app/x /opt/asd/x 2>/dev/null' || fail 'its user can change the program'

say 'a small factory, synthesised and packed inside'
inside 1000:1000 /app/docker/entrypoint.sh \
  python -m shards.synth --out /data/factory --train-clips 6 --test-clips 2 --clip-s 1 --workers 2
inside 1000:1000 /app/docker/entrypoint.sh \
  python -m shards.pack --layout dcase2020 --source /data/factory --out /data/shards --workers 2 2>&1 | tail -n 3

train=(/app/docker/entrypoint.sh --config configs/demo.yaml data.shards=/data/shards run.dir=/runs/demo data.crop_s=1
  backbone.width=8 'backbone.depths=[1,1,1,1]' frontend.n_mels=32 train.global_batch=32 train.log_every=1)

say 'a mistake in the config'
code=0
said="$(inside 4321:4321 "${train[@]}" loss.scael=30 2>&1)" || code=$?
said="$(grep -v 'exit.* status' <<<"$said")" # buildah's own words
echo "$said (exit code $code)"
[ "$code:$(wc -l <<<"$said")" = 2:1 ] || fail 'not one line and exit code 2'
[ -z "$(ls "$work/runs")" ] || fail 'something was started'

say 'train as user 4321 on two ranks; SIGTERM to the entrypoint'
inside 4321:4321 "${with_pid[@]}" "${train[@]}" train.steps=100000 evaluate.every_epochs=100000 >"$work/first.log" 2>&1 &
running=$!
wait_for 600 sh -c "test -s '$work/runs/demo/metrics.jsonl' || ! kill -0 $running 2>/dev/null"
[ -s "$work/runs/demo/metrics.jsonl" ] || fail "it ended before its first step: $(cat "$work/first.log")"
inside 4321:4321 python -m asd.monitor.health /runs || fail 'its health check says that it is not alive'
kill -TERM "$(cat "$work/runs/pid")"
code=0
wait "$running" || code=$?
cat "$work/first.log"
echo "exit code $code"
[ "$code" = 0 ] || fail 'exit code is not 0'
step="$(sed -n 's/.* info: stopped by SIGTERM at step \([0-9]*\), checkpoint saved.*/\1/p' "$work/first.log")"
[ -f "$work/runs/demo/checkpoints/step_$(printf %08d "$step")/COMPLETE" ] || fail 'nothing was saved'
epoch="$(sed -n 's/.* \([0-9]*\) steps an epoch.*/\1/p' "$work/first.log")"
grep -F "\"git_commit\": \"$revision\"" "$work/runs/demo/run.json" || fail 'the run does not know its revision'

say 'start again: resume, finish, score'
inside 4321:4321 "${train[@]}" train.steps=$(((step / epoch + 1) * epoch)) evaluate.every_epochs=1 | tee "$work/second.log"
grep -E " info: resuming from step $step\$" "$work/second.log" || fail 'it did not resume'
grep -F 'finished at step' "$work/second.log" >/dev/null || fail 'it did not finish'
[ -z "$(find "$work/runs/demo" ! -user 4321)" ] || fail 'a file belongs to somebody else'

say 'a watcher beside a training that only saves; SIGTERM, and again'
watch=(/app/docker/entrypoint.sh python eval.py watch --run /runs/demo --poll 1)
inside 4321:4321 "${train[@]}" train.steps=$(((step / epoch + 3) * epoch)) evaluate.every_epochs=1 \
  evaluate.by_watcher=true | tee "$work/third.log"
grep -F 'to be scored: steps' "$work/third.log" >/dev/null || fail 'it did not leave two checkpoints to the watcher'
rm -f "$work/runs/pid"
inside 4321:4321 "${with_pid[@]}" "${watch[@]}" >"$work/watch.log" 2>&1 &
running=$!
wait_for 300 sh -c "grep -F 'watching /runs/demo on cpu' '$work/watch.log' || ! kill -0 $running 2>/dev/null"
watcher="$(cat "$work/runs/pid")"
kill -TERM "$watcher"
code=0
wait "$running" || code=$?
watcher=
cat "$work/watch.log"
[ "$code" = 0 ] || fail "the watcher's exit code is $code"
grep ' info: stopped by SIGTERM, [12] to be scored' "$work/watch.log" >/dev/null || fail 'it does not say what is left'
inside 4321:4321 "${watch[@]}" | tee "$work/watched.log"
grep 'finished at step .* 0 to be scored' "$work/watched.log" >/dev/null || fail 'it did not score what was left'
[ -z "$(find "$work/runs/demo" ! -user 4321)" ] || fail 'a file belongs to somebody else'

say 'TensorBoard'
port="${TENSORBOARD_PORT:-16006}"
inside 4321:4321 "${with_pid[@]}" /app/docker/entrypoint.sh \
  tensorboard --logdir /runs --host 127.0.0.1 --port "$port" >"$work/tensorboard.log" 2>&1 &
wait_for 300 test -s "$work/tensorboard.log"
board="$(cat "$work/runs/pid")"
curves="http://127.0.0.1:$port/data/plugin/scalars"
wait_for 300 curl --silent --fail --output "$work/tags.json" "$curves/tags"
wait_for 300 sh -c "curl --silent --fail '$curves/scalars?run=demo/tensorboard/train&tag=train/loss' >'$work/loss.json'"
head -c 300 "$work/loss.json" && echo
points="$(grep -o '\[[0-9.]*, [0-9]*, [0-9.]*\]' "$work/loss.json" | wc -l)"
lines="$(grep -c '"loss"' "$work/runs/demo/metrics.jsonl")"
[ "$points" = "$lines" ] || fail "TensorBoard has $points points of the loss, metrics.jsonl $lines"

say 'all is as it should be'

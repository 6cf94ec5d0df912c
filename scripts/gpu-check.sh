#!/usr/bin/env bash
# Every check that needs an NVIDIA GPU, in one run of at most eight minutes.
#
#   scripts/gpu-check.sh pack          builds the programs (nvcc, no GPU) and packs them, about 20 MB:
#                                      target/gpu-check.tar.xz; with FEATURE=nccl in the
#                                      environment also the tests of NCCL, which needs NCCL
#   scripts/gpu-check.sh [run] [OUT]   unpacks or builds them, runs all checks, writes to OUT
#                                      (default: $OUT, else target/gpu-check/out)
#
# The machine with the GPU needs this checkout (for fixtures and configs), the packed programs, the
# driver, CUDA's libraries (those of a PyTorch wheel will do), and Python with PyTorch to compare
# with. FEWSHOT_DATA with mini-imagenet-84 below it, of however many images, allows the full run.
#
# Exit status: 0 all checks passed, 1 some failed (the table says which), 2 nothing could be run.
set -u
cd "$(dirname "$0")/.." || exit 2
packed=target/gpu-check.tar.xz
folder=target/gpu-check
feature=${FEATURE:-cuda}

pack() {
    local programs=$folder/bin target found
    rm -rf "$programs" && mkdir -p "$programs" || return 2
    # The same features for build and test, so that nothing is built twice.
    local ours="fewshot-ops/$feature,fewshot-losses/cuda,fewshot-models/cuda,fewshot-episodes/cuda,trainer/$feature,evaluator/cuda,fewshot-bench/cuda"
    local packages="-p fewshot-ops -p fewshot-losses -p fewshot-models -p fewshot-episodes -p trainer -p evaluator -p fewshot-bench"
    cargo build --release $packages --features "$ours" || return 2
    cargo test --release $packages --features "$ours" --no-run --message-format=json-render-diagnostics \
        --lib --test kernels --test nccl --test parity --test gpu > "$folder/tests.json" || return 2
    target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
    found=$target/${CARGO_BUILD_TARGET:-.}/release
    cp "$found/trainer" "$found/evaluator" "$found/bench" "$programs/" || return 2
    python3 - "$folder" "$programs" "$feature" <<'P' || return 2
import json, shutil, sys
folder, programs, feature = sys.argv[1:]
wanted = {("ops", "kernels"): "ops-kernels", ("losses", "parity"): "losses-parity",
          ("models", "parity"): "models-parity", ("episodes", "gpu"): "episodes",
          ("trainer", "trainer"): "trainer-images", ("trainer", "parity"): "trainer-parity"}
if feature == "nccl":
    wanted[("ops", "nccl")] = "nccl"
for line in open(f"{folder}/tests.json"):
    message = json.loads(line)
    if message.get("executable") and message["target"]["kind"] != ["bin"]:
        package = message["package_id"].split("/")[-1].split("#")[0]
        name = wanted.pop((package, message["target"]["name"]), None)
        if name:
            shutil.copy(message["executable"], f"{programs}/{name}")
assert not wanted, f"not built: {wanted}"
P
    strip "$programs"/* || return 2
    # The programs share most of their contents, candle's kernels: a window over all of them stores these once.
    tar -C "$folder" -c bin | xz -T1 -6 --lzma2=preset=6,dict=768MiB > "$packed" || return 2
    ls -l "$packed"
}

limit=$((SECONDS + 470))
failed=0
# check NAME SECONDS COMMAND...: runs a command for at most SECONDS; its output goes to NAME.log.
check() {
    local name=$1 timeout=$2 left=$((limit - SECONDS)) started=$SECONDS status
    shift 2
    if [ "$left" -lt 5 ]; then
        echo "| $name | not run: out of time | |" >> "$out/summary.md"
        failed=1
        return
    fi
    [ "$timeout" -gt "$left" ] && timeout=$left
    timeout -k 10 "$timeout" "$@" > "$out/$name.log" 2>&1
    status=$?
    case $status in 0) status=passed ;; 124 | 137) status="cut off after $timeout s"; failed=1 ;; *) status="failed ($status)"; failed=1 ;; esac
    echo "| $name | $status | $((SECONDS - started)) s |" | tee -a "$out/summary.md"
}

run() {
    out=${1:-${OUT:-$folder/out}}
    mkdir -p "$out" || exit 2
    if [ ! -x $folder/bin/ops-kernels ]; then
        if [ -e $packed ]; then
            mkdir -p $folder && tar -C $folder -xJf $packed || exit 2
        elif command -v cargo > /dev/null; then
            pack || exit 2
        else
            echo "error: neither $packed nor cargo: run scripts/gpu-check.sh pack where there is nvcc" >&2
            exit 2
        fi
    fi
    command -v nvidia-smi > /dev/null || { echo "error: no nvidia-smi: this machine has no NVIDIA driver" >&2; exit 2; }
    # The libraries of a PyTorch wheel, if there is one, after those of the system.
    local wheels
    wheels=$(python3 -c 'import glob,os,site; print(":".join(sorted({os.path.dirname(p) for s in site.getsitepackages() for p in glob.glob(s+"/nvidia/**/lib*.so*",recursive=True)})))' 2> /dev/null)
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$wheels"
    PARITY_DIR=$PWD/fixtures/parity && export PARITY_DIR
    local bin=$PWD/$folder/bin
    { echo "| check | result | time |"; echo "| --- | --- | --- |"; } > "$out/summary.md"

    check machine 20 nvidia-smi
    check ops 60 "$bin/ops-kernels" --nocapture --test-threads=1
    [ -x "$bin/nccl" ] && check nccl 30 "$bin/nccl" --nocapture
    check losses-parity 20 "$bin/losses-parity" --nocapture
    check episodes 20 "$bin/episodes" --nocapture
    check images 20 "$bin/trainer-images" --nocapture images_are_varied
    check trainer-parity 40 "$bin/trainer-parity" --nocapture
    check models-parity 80 "$bin/models-parity" --nocapture --test-threads=1 --skip parity_wide_resnet parity
    # Tests that skipped the GPU have failed here.
    if grep -l "skipped on a GPU" "$out"/*.log; then
        echo "| a GPU answered | failed | |" | tee -a "$out/summary.md"
        failed=1
    fi
    {
        echo; echo "Largest deviations of the ops, each beside its tolerance:"
        grep -ho "off by [^ ]* of [^ ]*" "$out/ops.log" | sort -u -t' ' -k5,5 -k3,3gr | sort -u -t' ' -k5,5
        echo; grep -h "^.*parity .*: deviation" "$out"/*-parity.log | sed 's/^test .*\.\.\. //'
        echo; grep -h ": at most" "$out/images.log"
    } > "$out/deviations.txt"
    local against=--against-pytorch
    python3 -c 'import torch, torchvision, numpy, PIL' 2> /dev/null || {
        against=
        echo "| PyTorch | not installed: only ours is measured | |" | tee -a "$out/summary.md"
    }
    check bench 210 "$bin/bench" bench gpu $against --pairs 3 --json "$out/bench.json"
    if [ -e "${FEWSHOT_DATA:-/nowhere}/mini-imagenet-84" ]; then
        local margin keep
        # Epochs only: whether files are read fast enough.
        for keep in false true; do
            check "two-epochs-kept-$keep" 30 "$bin/trainer" --config configs/gpu/mini-imagenet-resnet10-84.toml \
                --run-dir "$out/kept-$keep" "loader.keep_on_gpu=$keep" train.epochs=2 val.freq=0 \
                train.warmup_epochs=0 test.episodes=10
            grep -h "images/s" "$out/two-epochs-kept-$keep.log" | tail -1 | tee -a "$out/summary.md"
        done
        for margin in 0 -0.02; do
            check "run-margin$margin" 90 "$bin/trainer" --config configs/gpu/mini-imagenet-resnet10-84.toml \
                --run-dir "$out/run$margin" "method.margin=$margin"
            [ -e "$out/run$margin/report.md" ] && cp "$out/run$margin/report.md" "$out/report$margin.md"
        done
    else
        echo "| full run | not run: FEWSHOT_DATA has no mini-imagenet-84 | |" | tee -a "$out/summary.md"
    fi
    cat "$out/summary.md" "$out/deviations.txt"
    cat "$out/bench.log" "$out"/report*.md 2> /dev/null
    return $failed
}

case ${1:-run} in
pack) pack ;;
run) run "${2:-}" ;;
-h | --help) sed -n '2,15s/^# \{0,1\}//p' "$0" ;;
*) run "$1" ;;
esac

#!/usr/bin/env bash
# Every check that needs an NVIDIA GPU, in one run of at most eight minutes.
#
#   scripts/gpu-check.sh pack                   builds the programs (nvcc, no GPU) and packs them, about
#                                               13 MB: target/gpu-check.tar.xz; with FEATURE=nccl in
#                                               the environment also the tests of NCCL, which needs NCCL
#   scripts/gpu-check.sh run [OUT [CHECK...]]   unpacks or builds them, runs all checks or those named
#                                               (ops, models-parity, bench, ...), writes to OUT
#                                               (default: $OUT, else target/gpu-check/out)
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
# check NAME SECONDS COMMAND...: runs a command for at most SECONDS, unless other checks were asked for;
# its output goes to NAME.log, its result to NAME.row.
check() {
    local name=$1 timeout=$2 left=$((limit - SECONDS)) started=$SECONDS status
    shift 2
    case " $wanted " in "  " | *" $name "*) ;; *) return ;; esac
    if [ "$left" -lt 5 ]; then
        echo "| $name | not run: out of time | |" > "$out/$name.row"
        return
    fi
    [ "$timeout" -gt "$left" ] && timeout=$left
    timeout -k 10 "$timeout" "$@" > "$out/$name.log" 2>&1
    status=$?
    case $status in 0) status=passed ;; 124 | 137) status="cut off after $timeout s" ;; *) status="failed ($status)" ;; esac
    # A test that skipped the GPU has failed here.
    grep -q "skipped on a GPU" "$out/$name.log" && status="failed: skipped the GPU"
    echo "| $name | $status | $((SECONDS - started)) s |" | tee "$out/$name.row"
}

run() {
    out=${1:-${OUT:-$folder/out}}
    mkdir -p "$out" || exit 2
    [ $# -gt 0 ] && shift
    local wanted="$*"
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

    check machine 20 nvidia-smi
    # Right or wrong, all at once: what follows is timed, and runs alone.
    check ops 100 "$bin/ops-kernels" --nocapture --test-threads=1 &
    [ -x "$bin/nccl" ] && check nccl 30 "$bin/nccl" --nocapture &
    check losses-parity 40 "$bin/losses-parity" --nocapture &
    check episodes 40 "$bin/episodes" --nocapture &
    check images 40 "$bin/trainer-images" --nocapture images_are_varied &
    check trainer-parity 80 "$bin/trainer-parity" --nocapture &
    check models-parity 120 "$bin/models-parity" --nocapture --test-threads=1 --skip parity_wide_resnet parity &
    wait
    {
        echo "Largest deviations of the ops, each beside its tolerance:"
        grep -ho "off by [^ ]* of [^ ]*" "$out/ops.log" | sort -u -t' ' -k5,5 -k3,3gr | sort -u -t' ' -k5,5
        echo; grep -h "^.*parity .*: deviation" "$out"/*-parity.log | sed 's/^test .*\.\.\. //'
        echo; grep -h ": at most" "$out/images.log"
    } > "$out/deviations.txt" 2> /dev/null
    local against=--against-pytorch
    python3 -c 'import torch, torchvision, numpy, PIL' 2> /dev/null || {
        against=
        echo "| PyTorch | not installed: only ours is measured | |" > "$out/pytorch.row"
    }
    check bench 210 "$bin/bench" bench gpu $against --pairs 3 --json "$out/bench.json"
    check cores 60 "$bin/bench" bench train features $against --pairs 2 --json "$out/cores.json"
    check one-core 60 "$bin/bench" bench train features --threads 1 --pairs 1 --json "$out/one-core.json"
    if [ -e "${FEWSHOT_DATA:-/nowhere}/mini-imagenet-84" ]; then
        local margin keep
        # Epochs only: whether files are read fast enough.
        for keep in false true; do
            check "two-epochs-kept-$keep" 30 "$bin/trainer" --config configs/gpu/mini-imagenet-resnet10-84.toml \
                --run-dir "$out/kept-$keep" "loader.keep_on_gpu=$keep" train.epochs=2 val.freq=0 \
                train.warmup_epochs=0 test.episodes=10
            grep -h "images/s" "$out/two-epochs-kept-$keep.log" 2> /dev/null | tail -1
        done
        for margin in 0 -0.02; do
            check "run-margin$margin" 90 "$bin/trainer" --config configs/gpu/mini-imagenet-resnet10-84.toml \
                --run-dir "$out/run$margin" "method.margin=$margin"
            [ -e "$out/run$margin/report.md" ] && cp "$out/run$margin/report.md" "$out/report$margin.md"
        done
    else
        echo "| trainings | not run: FEWSHOT_DATA has no mini-imagenet-84 | |" > "$out/trainings.row"
    fi
    { echo "| check | result | time |"; echo "| --- | --- | --- |"; cat "$out"/*.row; } > "$out/summary.md"
    cat "$out/bench.log" "$out/cores.log" "$out/one-core.log" "$out"/report*.md "$out/deviations.txt" "$out/summary.md" 2> /dev/null
    ! grep -q "failed\|cut off\|out of time" "$out"/*.row
}

case ${1:-run} in
pack) pack ;;
run) shift; run "$@" ;;
-h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0" ;;
*) echo "error: $1: neither pack nor run (--help says more)" >&2; exit 2 ;;
esac

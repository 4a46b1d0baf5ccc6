#!/usr/bin/env bash
# The main job: data -> cache -> Keras and PyTorch classifiers -> submission.csv -> generators, evaluated -> report.html.
# The submission and the classifiers' part of the report are written before any generator is trained.
# The same command on the same --out-dir goes on where it stopped; finished trainings and evaluations are not repeated.
set -euo pipefail

usage="usage: ./run_all.sh [--data-dir DIR] [--out-dir runs/NAME] [--generate-minutes M] [--gan-epochs N] [--full | --smoke]
  --data-dir DIR    folder of labelled sounds (Kaggle layout, a folder per class, UrbanSound8K); default: synthetic demo data
  --out-dir DIR     folder of all results; default: runs/demo, or runs/<name of the data folder>
  --generate-minutes M  minutes to train the flow model (default 60; on the demo data, 6 epochs: a minute)
  --gan-epochs N    epochs of the conditional GAN (default 10, on the demo data 1, or 100 with --full); a larger N continues a finished run
  --full            three seeds per classifier and every generator's full recipe: takes hours
  --smoke           every stage with tiny settings, to check that it runs: two minutes"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data_dir="" out_dir="" size="" gan_epochs="" minutes=""
while [ $# -gt 0 ]; do
    case "$1" in
    --data-dir | --out-dir | --gan-epochs | --generate-minutes)
        [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2 && exit 2; }
        case "$1" in --data-dir) data_dir=$2 ;; --out-dir) out_dir=$2 ;; --gan-epochs) gan_epochs=$2 ;; *) minutes=$2 ;; esac
        shift 2
        ;;
    --full | --smoke)
        [ -z "$size" ] || [ "$size" = "${1#--}" ] || { echo "error: --full and --smoke exclude each other; give one" >&2 && exit 2; }
        size=${1#--} && shift
        ;;
    -h | --help) echo "$usage" && exit 0 ;;
    *) echo "error: unknown option $1"$'\n'"$usage" >&2 && exit 2 ;;
    esac
done
for given in "--gan-epochs ${gan_epochs:-1}" "--generate-minutes ${minutes:-1}"; do
    case "${given#* }" in *[!0-9]* | 0) echo "error: $given: must be a whole number of at least 1" >&2 && exit 2 ;; esac
done

# shellcheck source=shared/setup_env.sh
source "$root/shared/setup_env.sh" || exit 2

name=demo leak=() flow=(--minutes "${minutes:-60}") others=(--epochs 15 --sample-every 5) sounds=40
if [ -n "$data_dir" ]; then
    name=$(basename "$data_dir")
else
    data_dir="$root/data/demo"
    echo "no --data-dir given: this run uses SYNTHETIC demo sounds; for sounds of your own: ./run_all.sh --data-dir DIR"
    frequency-quest data demo --data-dir "$data_dir"
    if [ "$size" != full ]; then
        [ -n "$minutes" ] || flow=(--epochs 6 --sample-every 6 --steps 16)
        gan_epochs=${gan_epochs:-1} others=(--epochs 10 --sample-every 5) sounds=20
    fi
    leak=(--epochs 15) # enough on the demo sounds to show how optimistic a random split is
fi
out_dir=${out_dir:-"$root/runs/$name${size:+-$size}"}
mkdir -p "$out_dir" || exit 2
classify=() seeds=() generate=(--epochs "${gan_epochs:-10}")
case "$size" in
full) seeds=(--seeds 3) generate=(--epochs "${gan_epochs:-100}") others=(--sample-every 10) ;;
smoke)
    classify=(--epochs 2 --fraction 0.3 --members 1)
    flow=(--epochs 1 --fraction 0.1 --width 64 --depth 1 --steps 4)
    generate=(--epochs 1 --fraction 0.1)
    others=(--epochs 1 --fraction 0.1)
    sounds=4
    ;;
esac

stages=18 number=0 title=""
bold="" dim="" plain=""
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi

stage() { # stage TITLE COMMAND...: announce the command with its number, run it, print its seconds
    number=$((number + 1)) title=$1
    shift
    echo && echo "$bold[$number/$stages] $title$plain" && echo "$dim$*$plain"
    local began=$SECONDS
    "$@"
    echo "$dim$title: $((SECONDS - began)) s$plain"
}

stopped() { # on every exit before the last line
    [ -z "$title" ] || echo "stopped in stage $number of $stages ($title); the same command continues from there" >&2
}
trap stopped EXIT

train="$root/classification/train.py"
stage "Keras classifier" python "$train" --framework keras --data-dir "$data_dir" --out-dir "$out_dir/keras" ${seeds[@]+"${seeds[@]}"} ${classify[@]+"${classify[@]}"}
stage "PyTorch classifier" python "$train" --framework torch --data-dir "$data_dir" --out-dir "$out_dir/torch" ${seeds[@]+"${seeds[@]}"} ${classify[@]+"${classify[@]}"}
stage "Keras classifier, plain recipe, on a random (leaking) and a grouped split" python "$train" --framework keras --recipe plain --split random \
    --data-dir "$data_dir" --out-dir "$out_dir/keras-random" ${leak[@]+"${leak[@]}"} ${classify[@]+"${classify[@]}"}
stage "Submission" frequency-quest submission --runs "$out_dir/keras" "$out_dir/torch" --output "$out_dir/submission.csv"
stage "Report of the classifiers" frequency-quest report --out-dir "$out_dir"

# generator FOLDER KIND SCRIPT OPTIONS...: train it on three quarters of the recordings, make sounds, evaluate them
generator() {
    local kind=$2 script=$3 run="$out_dir/$1"
    shift 3
    stage "$kind: training" python "$root/generation/$script" --data-dir "$data_dir" --out-dir "$run" --holdout-share 0.25 "$@"
    if [ "$run/.evaluated" -nt "$run/metrics.json" ]; then
        number=$((number + 2))
        return
    fi
    stage "$kind: sounds" python "$root/generation/sample.py" --model-dir "$run" --count "$sounds" --out-dir "$run/samples"
    stage "$kind: evaluation" python "$root/generation/evaluate.py" --samples "$run/samples" --reference "$data_dir" \
        --classifier "$out_dir/torch" --output "$run/evaluation.json"
    touch "$run/.evaluated"
}
generator flow "Conditional flow matching" train_flow.py "${flow[@]}"
generator cgan "Conditional GAN" train_cgan.py "${generate[@]}"
generator wgan-gp "Conditional WGAN-GP" train_wgan_gp.py --experiment 2 "${others[@]}"
generator cvae "Conditional VAE" train_vae.py --model cvae "${others[@]}"
stage "Report" frequency-quest report --out-dir "$out_dir"
title=""
echo && echo "${bold}done in $(((SECONDS + 59) / 60)) min: $out_dir/report.html$plain"

#!/usr/bin/env bash
# One dataset by a Slurm array: each task makes a shard on one GPU, the last job joins them. Submit both with
#
#     sbatch --array=0-63 examples/cluster/slurm_array.sh recipe.yaml /shared/ds
#     sbatch --dependency=afterok:JOBID examples/cluster/slurm_array.sh recipe.yaml /shared/ds merge
#
# A task that failed or was preempted is submitted again with the same number (--array=17 and DIFFUMASK_SHARDS=64): what it
# had finished is in the store. Number and order of the tasks leave no trace in the dataset.
#SBATCH --job-name=diffumask
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail

recipe=$1
output=$2
count=${DIFFUMASK_SHARDS:-${SLURM_ARRAY_TASK_COUNT:-1}}

if [ "${3:-}" = merge ]; then
  exec diffumask merge "$output".shards/* --output "$output"
fi

index=${SLURM_ARRAY_TASK_ID:?submit with --array=0-N}
mkdir -p "$output.shards"
# One store on the shared file system: a shard that moves to another node goes on where it was.
export DIFFUMASK_CACHE=${DIFFUMASK_CACHE:-$output.store}
exec diffumask generate --config "$recipe" --shard "$index/$count" --output "$output.shards/$(printf %05d "$index")" \
  --batch-size "${BATCH_SIZE:-4}"

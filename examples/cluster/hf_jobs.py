"""One dataset by Hugging Face Jobs: each job makes a shard on one GPU and uploads it; the last one joins and pushes them.

    python examples/cluster/hf_jobs.py recipe.yaml me/boats --jobs 16 --flavor a10g-small

A job that fails is tried again by the platform. ``--dry-run`` prints what would be run.
"""

import argparse
import os
import shlex
from pathlib import Path

from huggingface_hub import HfApi, get_token, run_job

IMAGE = "pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime"
INSTALL = "apt-get -qq update && apt-get -qq install -y g++ >/dev/null && pip install -q diffumask-datasets"


def shard_command(repo_id: str, number: int, count: int) -> str:
    place = f"shards/{number:05d}"
    return " && ".join(
        [
            INSTALL,
            f"hf download {repo_id} recipe.yaml --repo-type dataset --local-dir /tmp/run",
            f"diffumask generate --config /tmp/run/recipe.yaml --shard {number}/{count} --output /tmp/out",
            f"hf upload {repo_id} /tmp/out {place} --repo-type dataset",
        ]
    )


def merge_command(parts_id: str, repo_id: str) -> str:
    return " && ".join(
        [
            INSTALL,
            f"hf download {parts_id} --repo-type dataset --local-dir /tmp/run",
            "diffumask merge /tmp/run/shards/* --output /tmp/out",
            f"diffumask push /tmp/out {repo_id}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="recipe.yaml with splits or num_samples")
    parser.add_argument("repo_id", help="dataset to push to; its shards go to REPO_ID-shards")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--flavor", default="a10g-small")
    parser.add_argument("--timeout", default="12h")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    parts_id = f"{options.repo_id}-shards"
    commands = [shard_command(parts_id, number, options.jobs) for number in range(options.jobs)]
    last = merge_command(parts_id, options.repo_id)
    if options.dry_run:
        for command in [*commands, last]:
            print(shlex.join(["bash", "-c", command]))
        return
    api = HfApi()
    api.create_repo(parts_id, repo_type="dataset", private=True, exist_ok=True)
    api.upload_file(path_or_fileobj=options.recipe, path_in_repo="recipe.yaml", repo_id=parts_id, repo_type="dataset")
    secrets = {"HF_TOKEN": os.environ.get("HF_TOKEN") or get_token()}
    started = [
        run_job(
            image=IMAGE,
            command=["bash", "-c", command],
            flavor=options.flavor,
            timeout=options.timeout,
            attempts=3,
            secrets=secrets,
        )
        for command in commands
    ]
    for job in started:
        print(job.url)
    for job in started:
        done = api.wait_for_job(job_id=job.id)
        if done.status.stage != "COMPLETED":
            raise SystemExit(f"{job.url} ended as {done.status.stage}: fix it and run this script again")
    print(run_job(image=IMAGE, command=["bash", "-c", last], timeout=options.timeout, secrets=secrets).url)


if __name__ == "__main__":
    main()

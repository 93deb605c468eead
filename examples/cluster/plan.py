"""What a run on many GPUs takes: images an hour, hours, dollars, and what it waits for.

    python examples/cluster/plan.py --images 10000000 --gpus 64
    python examples/cluster/plan.py --table                        # the table of docs/scaling.md

Without --generate-seconds the numbers are assumptions about one GPU; see docs/scaling.md.
"""

import argparse
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Inputs:
    """Costs of one image and of the machines. Seconds are of one GPU, one CPU core or one connection."""

    generate_seconds: float = 1.5
    """One GPU: 512 x 512, 50 steps, with capture (assumed: an A100 in float16, batch 4)."""
    refine_seconds: float = 0.34
    """One core: masks and encoding at 512 x 512 (measured, see docs/scaling.md)."""
    cores_per_gpu: float = 4
    """That refine (assumed; --mask_workers)."""
    store_seconds: float = 0.06
    """One connection: putting a sample into a bucket (assumed); each worker has 4."""
    megabytes: float = 0.6
    """A sample at 512 x 512, as PNG (assumed)."""
    start_seconds: float = 90
    """Loading the model, per worker (assumed)."""
    merge_seconds: float = 0.01
    """One process: reading and writing a sample when shards are merged (assumed)."""
    gpu_dollars: float = 2.0
    """One GPU with its cores, an hour (assumed)."""
    put_dollars: float = 5e-6
    """One request that writes (assumed: an S3 list price)."""
    puts_per_second: float = 3500
    """That one prefix of a bucket takes (S3's documentation); a recipe is one prefix until S3 splits it."""


@dataclass(frozen=True)
class Plan:
    images_per_hour: float
    hours: float
    merge_hours: float
    dollars: float
    terabytes: float
    waits_for: str


WRITERS = 4
INDICES_OF_A_RECIPE = 90_000_000
"""Of the split train; more images are more recipes, by other seeds."""


def plan(images: int, gpus: int, inputs: Inputs) -> Plan:
    """Every stage runs beside the others, so that the slowest decides; then shards are merged by one process per recipe."""
    recipes = -(-images // INDICES_OF_A_RECIPE)
    seconds = {
        "generation": inputs.generate_seconds / gpus,
        "refinement": inputs.refine_seconds / (inputs.cores_per_gpu * gpus),
        "the store's answer": inputs.store_seconds / (WRITERS * gpus),
        "the store's requests": 1 / (inputs.puts_per_second * recipes),
    }
    slowest = max(seconds, key=lambda stage: seconds[stage])
    hours = (images * seconds[slowest] + inputs.start_seconds) / 3600
    merge_hours = images * inputs.merge_seconds / recipes / 3600
    waits_for = "merging" if merge_hours > hours else slowest
    dollars = hours * gpus * inputs.gpu_dollars + images * inputs.put_dollars
    return Plan(images / hours, hours, merge_hours, dollars, images * inputs.megabytes / 1e6, waits_for)


def table(inputs: Inputs) -> str:
    lines = ["| images | GPUs | images/hour | hours | merging, hours | dollars | TB | waits for |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for images, shown in ((200_000, "200k"), (10_000_000, "10M"), (1_000_000_000, "1B")):
        for gpus in (1, 8, 64, 512):
            made = plan(images, gpus, inputs)
            numbers = f"{made.images_per_hour:,.0f} | {made.hours:,.1f} | {made.merge_hours:,.1f} | {made.dollars:,.0f}"
            lines.append(f"| {shown} | {gpus} | {numbers} | {made.terabytes:,.1f} | {made.waits_for} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--table", action="store_true")
    for field in fields(Inputs):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    options = vars(parser.parse_args())
    inputs = Inputs(**{field.name: options[field.name] for field in fields(Inputs)})
    if options["table"]:
        print(table(inputs))
        return
    made = plan(options["images"], options["gpus"], inputs)
    print(
        f"{made.images_per_hour:,.0f} images an hour; {made.hours:,.1f} hours, then {made.merge_hours:,.1f} of merging"
    )
    print(f"{made.dollars:,.0f} dollars; {made.terabytes:,.2f} TB; waits for {made.waits_for}")


if __name__ == "__main__":
    main()

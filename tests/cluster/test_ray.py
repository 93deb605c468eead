import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from diffumask_datasets import generate
from diffumask_datasets.errors import ModelError, WorkerError
from diffumask_datasets.generation.engines.ray import fill
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Made, Runtime
from diffumask_datasets.recipes.recipe import Recipe
from tests.dataset.test_shards import files
from tests.helpers.waiting import wait_until

# By default Ray lets its workers run only where nobody else wants the CPU; read when a raylet starts.
os.environ.update(RAY_worker_niceness="0")

OBJECT_STORE = 200 * 2**20


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head node, and this process connected to it; nodes are real raylets with workers of their own."""
    # Room for both image generators and a labeller once the other node is gone.
    node = {"num_cpus": 3, "object_store_memory": OBJECT_STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_is_killed_amid_the_run_and_nothing_changes(
    planted: dict[str, Any], tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(tmp_path / "undisturbed", num_samples=20, store=tmp_path / "store 1", **planted)
    monkeypatch.setenv("DIFFUMASK_PLANTED_SECONDS", "0.3")  # the nodes take it over
    node = cluster.add_node(num_cpus=2, object_store_memory=OBJECT_STORE)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    made: list[int] = []

    def note(one: Made) -> None:
        made.append(one.index)
        if len(made) == 4:
            cluster.remove_node(node, allow_graceful=False)

    recipe = prepare(Recipe.of(**planted))
    fill(recipe, Runtime(store=tmp_path / "store", mask_workers=1), [(0, 20)], workers=2, address=None, made=note)
    # The head node may notice the death of the other only after the rest was done.
    wait_until(lambda: [node["Alive"] for node in ray.nodes()].count(True) == 1, "the other node is dead")
    assert sorted(made) == list(range(20))
    generate(tmp_path / "ds", num_samples=20, store=tmp_path / "store", **planted)
    assert files(tmp_path / "ds") == files(tmp_path / "undisturbed")


def test_one_stage_attempts_and_errors(
    planted: dict[str, Any], tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**planted, "min_area": 0.3, "max_attempts": 4, "num_samples": 10, "batch_size": 3}
    generate(tmp_path / "one", store=tmp_path / "store 1", **fields)
    generate(tmp_path / "ray", store=tmp_path / "store 2", engine="ray", address=cluster.address, workers=1, **fields)
    assert files(tmp_path / "ray") == files(tmp_path / "one")
    broken = next(GeneratedSamples(prepare(Recipe.of(**planted))).rows(3, 4))[1]["seed"]
    ray.shutdown()
    ray.init(
        address=cluster.address,
        log_to_driver=False,
        runtime_env={"env_vars": {"DIFFUMASK_PLANTED_BROKEN": str(broken)}},
    )
    with pytest.raises(ModelError, match="NaN"):
        generate(tmp_path / "broken", num_samples=5, store=tmp_path / "store 3", engine="ray", workers=1, **planted)
    assert not (tmp_path / "broken").exists()


def test_a_cluster_that_is_not_there(planted: dict[str, Any], tmp_path: Path) -> None:
    os.environ.pop("RAY_ADDRESS", None)
    with pytest.raises(WorkerError, match=r"cannot reach a Ray cluster at auto .*: start one with 'ray start --head'"):
        generate(tmp_path / "ds", num_samples=2, engine="ray", address="auto", **planted)

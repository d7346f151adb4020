"""Which process keeps the MLflow run when several run a pipeline together."""

import socket

import pytest

from lafs_pipeline.hooks.tracking import is_first

DECIDING = ("RANK", "SLURM_STEP_NUM_TASKS")


def torchrun(rank):
    return {
        "RANK": str(rank),
        "WORLD_SIZE": "4",
        "LOCAL_RANK": str(rank % 2),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "29500",
    }


def srun(rank, tasks=2):
    return {
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": "0",
        "MASTER_ADDR": "gpu1",
        "MASTER_PORT": "29500",
    }


BATCH_SCRIPT = {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("environment", "launch", "expected"),
    [
        ({}, {}, True),
        ({}, {"nodes": 2, "node_rank": 0, "rendezvous": "10.0.0.1:29400"}, True),
        ({}, {"nodes": 2, "node_rank": 1, "rendezvous": "10.0.0.1:29400"}, False),
        ({}, {"node_rank": None}, True),
        (torchrun(0), {"node_rank": 1}, True),
        (torchrun(1), {}, False),
        (torchrun(2), {}, False),
        (srun(0), {"node_rank": 1}, True),
        (srun(1), {}, False),
        (srun(0, tasks=1), {"node_rank": 1}, False),
        (BATCH_SCRIPT, {}, True),
        (BATCH_SCRIPT, {"node_rank": 1}, False),
    ],
)
def test_the_first_process_of_the_first_host_tracks(monkeypatch, environment, launch, expected):
    for name in DECIDING:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first(launch) is expected


def test_a_second_host_tracks_nothing(kedro_run, tmp_path):
    run = kedro_run(tmp_path, "--pipelines=cataloging", **srun(1))
    assert run.finish() == 0, run.stderr[-3000:]
    assert (tmp_path / "08_reporting/dataset_card.json").exists()
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "06_models/checkpoints/mlflow_run.json").exists()


@pytest.mark.slow
def test_two_hosts_are_one_run(kedro_run, data, runs):
    database = f"sqlite:///{data}/mlflow.db"
    before = runs(database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = f"pretrain.methods=[lafs],launch.nodes=2,launch.processes=1,launch.rendezvous=127.0.0.1:{port}"
    hosts = [
        kedro_run(data, "--pipelines=pretrain", f"--params={settings},launch.node_rank={number}")
        for number in (0, 1)
    ]
    for host in hosts:
        assert host.finish() == 0, host.stderr[-3000:]
    (run,) = runs(database)[len(before) :]
    assert run.info.status == "FINISHED"
    assert run.data.params["launch.node_rank"] == "0"
    assert run.data.metrics["pretrain_lafs/loss"] > 0

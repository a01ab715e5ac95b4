"""A cluster of two processes of one thread each, for the tests of a file."""

import pytest


@pytest.fixture(scope="module")
def cluster():
    config, distributed = pytest.importorskip("dask.config"), pytest.importorskip("distributed")
    with (
        config.set({"distributed.deploy.lost-worker-timeout": "120s"}),  # a busy machine starts workers slowly
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as made,
    ):
        yield made


@pytest.fixture
def client(cluster):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster, set_as_default=False) as made:
        made.wait_for_workers(2, timeout=120)
        yield made

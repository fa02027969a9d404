"""Results as JSON say what they depend on."""

from machine import machine


def pytest_benchmark_update_machine_info(config, machine_info):
    """Add vectors, threads, BLAS and versions; pytest-benchmark adds processor and commit itself."""
    machine_info.update(machine())

"""The limit that counts is the tightest of machine and control groups, whatever version these are."""

import os

import pytest

from vln_heatmap.nodes.training.monitor import resources
from vln_heatmap.nodes.training.monitor.resources import cgroup_memory, memory_measures


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_groups_of_version_2_up_to_the_root(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/batch/job_7\n")
    root = tmp_path / "cgroup"
    group(
        root / "batch/job_7", memory__current=600, memory__max=1000, memory__stat="anon 1\ninactive_file 100"
    )
    group(root / "batch", memory__current=5000, memory__max="max")
    assert cgroup_memory(root, own) == [(500, 1000)]
    group(root / "batch", memory__current=5000, memory__max=8000)
    assert cgroup_memory(root, own) == [(500, 1000), (5000, 8000)]


def test_the_root_of_a_container_is_its_group(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/\n")
    group(tmp_path / "cgroup", memory__current=10, memory__max=40)
    assert cgroup_memory(tmp_path / "cgroup", own) == [(10, 40)]


def test_groups_of_version_1(tmp_path):
    own = tmp_path / "own"
    own.write_text("5:cpu,cpuacct:/job\n4:memory:/job\n")
    group(
        tmp_path / "cgroup/memory/job",
        memory__usage_in_bytes=700,
        memory__limit_in_bytes=1000,
        memory__stat="inactive_file 1\ntotal_inactive_file 300",
    )
    group(tmp_path / "cgroup/memory", memory__usage_in_bytes=9, memory__limit_in_bytes=9223372036854771712)
    assert cgroup_memory(tmp_path / "cgroup", own) == [(400, 1000)]


def test_where_there_are_no_groups_there_is_no_limit(tmp_path):
    assert cgroup_memory(tmp_path, tmp_path / "none") == []


def test_the_tightest_limit_decides(monkeypatch):
    monkeypatch.setattr(resources, "cgroup_memory", list)
    free = memory_measures()
    assert 0 < free["process_share"] < 1
    assert 0 < free["system_share"] < 1
    assert free["memory_share"] == max(free["system_share"], free.get("gpu_share", 0))
    limit = os.sysconf("SC_PAGE_SIZE") * 16384  # 64 MiB or more: less than the machine has
    monkeypatch.setattr(resources, "cgroup_memory", lambda: [(0.97 * limit, limit)])
    tight = memory_measures()
    assert tight["memory_share"] == pytest.approx(0.97)
    assert tight["process_share"] > free["process_share"]

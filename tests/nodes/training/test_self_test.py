"""Processes that can train together say so; what keeps them from it is the reason that is told."""

from __future__ import annotations

import re
import socket

import pytest
import torch

from vln_heatmap.nodes.training.self_test import _reason, main


def test_two_processes_meet_add_up_and_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--processes=2", "--backend=gloo", "--megabytes=0.5", "--timeout=200"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert re.search(r"2 processes met at 127\.0\.0\.1:\d+, backend gloo", said.out)
    assert len(set(re.findall(r"rank (\d): \S+, process \d+, cpu", said.out))) == 2
    assert "right: all-reduce, broadcast, mean of gradients" in said.out
    assert float(re.findall(r"([\d.e+-]+) GB/s", said.out)[0]) > 0


def test_a_port_that_is_taken_and_an_address_of_another_machine_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main([f"--port={port}"]) == 1
    assert f"no process can listen at 127.0.0.1:{port} (Address already in use)" in capsys.readouterr().err
    assert main(["--address=192.0.2.1"]) == 1
    assert "the address must be one of this machine" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_a_backend_without_its_devices_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(["--backend=nccl"]) == 1
    assert "nccl needs a CUDA device a process, rank 1 has none of 0" in capsys.readouterr().err


def test_the_first_error_of_a_process_is_the_reason() -> None:
    stderr = "W warning\nSelfTestError: broadcast is wrong\nE\nChildFailedError: exit 1\n"
    assert _reason(stderr) == "a process failed: SelfTestError: broadcast is wrong"
    assert _reason("") == "a process failed: it said nothing"
    assert _reason("killed\n") == "a process failed: killed"

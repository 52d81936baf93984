"""Pods spread over the splay: evenly when numbered, by chance else, and always the same for one pod."""

import pytest

from sidecars.config_reloader.core.splay import splay_seconds


def fullest_second(pods: list[str], span: float) -> int:
    bins = [int(splay_seconds(pod, span)) for pod in pods]
    return max(bins.count(second) for second in bins)


def test_the_pods_of_a_stateful_set_spread_evenly() -> None:
    assert fullest_second([f"web-{number}" for number in range(50)], 30.0) <= 3


def test_pods_with_random_names_spread() -> None:
    pods = [f"web-7d9f4c-{chr(97 + n % 26)}{n:03x}z" for n in range(50)]
    assert fullest_second(pods, 30.0) <= 6


def test_the_same_pod_always_waits_the_same() -> None:
    assert splay_seconds("web-7d9f4c-abcde", 30.0) == splay_seconds("web-7d9f4c-abcde", 30.0)


@pytest.mark.parametrize("pod", ["web-0", "web-999999999", "x", "", "\udcff"])
def test_the_wait_lies_within_the_span(pod: str) -> None:
    assert 0.0 <= splay_seconds(pod, 7.0) < 7.0
    assert splay_seconds(pod, 0.0) == 0.0

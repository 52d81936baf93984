"""Every scenario: played on the container engine by tests/pods/lifecycle, on a cluster by tests/cluster."""

from collections.abc import Callable

from tests.support.podlab.scenarios import reloading, resources, starting, stopping
from tests.support.podlab.stage import Stage

Scenario = Callable[[Stage], None]

NATIVE: tuple[Scenario, ...] = (
    starting.an_app_starts_only_after_the_sidecars_have_started,
    starting.sidecars_with_the_limits_of_tutorials_start_and_do_their_job,
    starting.the_sidecar_of_the_readme_starts_with_the_cpu_of_a_busy_node,
    starting.an_app_starts_when_what_it_waits_for_is_there,
    reloading.a_changed_configmap_reloads_the_app_and_a_broken_one_does_not,
    reloading.a_changed_configmap_is_told_by_signal_across_containers,
    resources.a_sidecar_that_ran_out_of_memory_comes_back_and_nothing_is_lost,
    stopping.pods_deleted_under_load_lose_no_line,
    stopping.a_job_ends_soon_after_its_main_container,
    stopping.an_app_that_eats_up_the_grace_leaves_the_sidecar_its_two_seconds,
    stopping.a_shipper_without_a_backend_stops_within_its_two_seconds,
    stopping.what_sidecars_say_at_the_end_is_not_the_pods_result,
    stopping.every_pre_stop_is_called_at_once,
)
"""They need native sidecars."""

ANYWHERE: tuple[Scenario, ...] = (
    starting.a_wait_in_vain_says_why_in_the_termination_message,
    resources.a_memory_volume_is_a_tmpfs_of_its_size,
    stopping.an_ordinary_sidecar_stays_until_the_app_is_gone,
)
"""They need none."""

ALL = NATIVE + ANYWHERE


def title(scenario: Scenario) -> str:
    """The sentence that names it."""
    return scenario.__name__.replace("_", "-")

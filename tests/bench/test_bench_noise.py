"""What a claim is worth that was tried under noise."""

import pytest
from bench.noise import LOUD, Noise, Trial, chosen, noise_of, settled, together, tried

QUIET, NOISY = Noise(0.0, 0.0, 1.0), Noise(2 * LOUD, 0.0, 1.0)


def trials(*kinds):
    """Trials from words such as `quiet holds`."""
    return [Trial(text, QUIET if text.startswith("quiet") else NOISY, text.split()[1]) for text in kinds]


@pytest.mark.parametrize(("kinds", "status"), [
    (["quiet holds"], "holds"),
    (["quiet violated"], "inconclusive"),                       # once may be bad luck
    (["quiet violated", "quiet violated"], "violated"),
    (["quiet violated", "quiet violated", "quiet holds"], "holds"),
    (["quiet violated", "loud violated"], "inconclusive"),
    (["loud violated", "loud violated"], "inconclusive"),       # noise proves nothing
    (["loud holds"], "holds"),                                  # in spite of the noise
    (["loud holds", "quiet violated"], "inconclusive"),
    (["quiet inconclusive", "loud violated"], "inconclusive"),
    (["quiet shown"], "shown"),
])  # fmt: skip
def test_what_trials_say_together(kinds, status):
    assert together(trials(*kinds), needed=2) == status


@pytest.mark.parametrize(("kinds", "enough"), [
    (["quiet holds"], True), (["loud holds"], False), (["quiet violated"], False),
    (["quiet violated", "quiet violated"], True), (["quiet inconclusive"] * 3, False),
])  # fmt: skip
def test_when_another_trial_could_change_nothing(kinds, enough):
    assert settled(trials(*kinds)) is enough


def test_the_quiet_trial_that_holds_counts_and_else_the_least_noisy():
    assert chosen(trials("loud holds", "quiet violated", "quiet holds")).value == "quiet holds"
    assert chosen(trials("loud violated", "quiet violated")).value == "quiet violated"


def test_without_retries_one_quiet_trial_is_enough_to_violate(monkeypatch):
    monkeypatch.setattr("bench.noise._host", lambda: (0.0, 0.0))  # whatever else runs on the machine of the test
    monkeypatch.setattr("bench.noise.LOOK_S", 0.0)
    assert tried(lambda: 3, lambda _: "violated", retries=0).status == "violated"
    found = tried(lambda: 3, lambda _: "violated", retries=3)
    assert (found.status, found.trials, found.value) == ("violated", 2, 3)


def test_noise_is_what_others_used_of_all_cpus():
    found = noise_of(busy_s=3.0, steal_s=0.2, own_s=1.0, seconds=10.0, cpus=2)
    assert (found.foreign, found.steal, found.loud) == (0.1, 0.01, True)
    assert noise_of(busy_s=1.0, steal_s=0.0, own_s=1.2, seconds=10.0, cpus=2).foreign == 0.0  # clocks of two grains

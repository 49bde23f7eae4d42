"""Each trial has a seed of its own, which follows from the run's and never changes."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from agent.dialects.dialect import Dialect
from agent.dialects.registry import dialect_names, load_dialect
from agent.request import request_head
from evals.seeds import SeededBackend, trial_seed
from results.records.events import BackendDescription

DESCRIPTION = BackendDescription(base_url="http://gone", model="m", dialect="vllm", sampling={"top_k": 20})


@dataclass
class Backend:
    """Nobody asks it anything here."""

    description: BackendDescription
    dialect: Dialect


def seeded(description: BackendDescription) -> SeededBackend:
    return SeededBackend(Backend(description, load_dialect("vllm")), 7)  # pyright: ignore[reportArgumentType]


@given(run_seed=st.integers(min_value=0), task_id=st.text(), attempt=st.integers(1, 1000))
def test_every_server_takes_it(run_seed: int, task_id: str, attempt: int) -> None:
    assert 0 <= trial_seed(run_seed, task_id, attempt) < 2**31


def test_it_is_the_same_in_every_version() -> None:
    assert [trial_seed(0, "astropy__astropy-12907", attempt) for attempt in (1, 2)] == [305055960, 1830532405]
    assert len({trial_seed(seed, task, attempt) for seed in range(10) for task in "ab" for attempt in (1, 2)}) == 40


def test_it_goes_out_with_every_request_and_what_a_person_says_wins() -> None:
    assert request_head(seeded(DESCRIPTION).description)["seed"] == 7
    assert request_head(seeded(DESCRIPTION).description)["top_k"] == 20
    own = DESCRIPTION.model_copy(update={"sampling": {"seed": 3}})
    assert request_head(seeded(own).description)["seed"] == 3


def test_only_families_that_are_known_to_take_one_get_one() -> None:
    with_seed = {name for name in dialect_names() if load_dialect(name).sampling.seed}
    assert {"vllm", "llama.cpp", "sglang", "ktransformers", "ollama"} <= with_seed
    assert not with_seed & {"generic", "gemini-compat", "moonshot", "deepseek"}

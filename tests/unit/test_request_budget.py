"""A backend gets as many requests at once as it was said, or as do it good."""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from agent.request_budget import Adaptive, Answer, Fixed, RequestBudget


@dataclass
class Simulated:
    """A server on paper: `best` requests at once give all the tokens that it has, more of them wait in line."""

    best: int
    refuses_above: int = 10_000
    tokens: int = 200
    seconds: float = 4.0

    def numbers(self, limit: Adaptive, answers: int) -> list[int]:
        """The limit after each of so many answers, while there is always somebody who asks."""
        now, out, numbers = 0.0, list[tuple[float, int, Answer]](), list[int]()
        for count in range(answers):
            while len(out) < limit.number:
                self._send(now, out, count)
            now, _, answer = heapq.heappop(out)
            answer.ended = now
            limit.learn(answer, saturated=True)
            numbers.append(limit.number)
        return numbers

    def _send(self, now: float, out: list[tuple[float, int, Answer]], count: int) -> None:
        at_once, answer = len(out) + 1, Answer(began=now)
        if at_once > self.refuses_above:
            answer.refused = True
            heapq.heappush(out, (now + 0.05, count * 10_000 + at_once, answer))
            return
        share = max(1.0, at_once / self.best)
        answer.first_token = now + 0.1 + (share - 1) * self.seconds  # the line in front of it
        answer.output_tokens = self.tokens
        heapq.heappush(out, (now + self.seconds * share, count * 10_000 + at_once, answer))


@pytest.mark.parametrize("best", [2, 8, 24, 64])
def test_it_finds_how_many_a_server_can_do_well(best: int) -> None:
    numbers = Simulated(best).numbers(Adaptive(), 6000)
    settled = numbers[len(numbers) // 2 :]
    assert best * 0.7 <= sum(settled) / len(settled) <= best * 1.5
    assert max(settled) <= best * 2


@pytest.mark.parametrize("most", [3, 10, 32])
def test_it_stays_near_what_a_server_takes_without_refusing(most: int) -> None:
    numbers = Simulated(1000, refuses_above=most).numbers(Adaptive(), 4000)
    settled = numbers[len(numbers) // 2 :]
    assert most * 0.4 <= sum(settled) / len(settled) <= most + 1
    assert max(settled) <= most + 1


def test_it_does_not_grow_where_its_places_are_not_used() -> None:
    limit = Adaptive()
    for second in range(200):
        answer = Answer(began=second, first_token=second + 0.1, ended=second + 1, output_tokens=50)
        limit.learn(answer, saturated=False)
    assert limit.number == Adaptive().number


def test_many_refusals_of_what_was_sent_together_count_once() -> None:
    limit = Adaptive(16)
    for number in range(16):
        limit.learn(Answer(began=0.0, ended=0.1 + number / 100, refused=True), saturated=True)
    assert limit.number == 8


async def out_at_once(budget: RequestBudget, requests: int, during: Callable[[int], None] | None = None) -> int:
    most = 0

    async def one() -> None:
        nonlocal most
        async with budget.place() as answer:
            most = max(most, budget.taken)
            if during:
                during(budget.taken)
            await asyncio.sleep(0.001)
            answer.take(0.0005, 10, whole=True)

    await asyncio.gather(*(one() for _ in range(requests)))
    assert budget.taken == 0
    return most


async def test_a_fixed_number_holds() -> None:
    assert await out_at_once(RequestBudget(Fixed(3)), 20) == 3


async def test_without_a_number_there_is_no_limit() -> None:
    assert await out_at_once(RequestBudget(), 20) == 20


async def test_another_number_holds_from_now_on() -> None:
    budget = RequestBudget(Adaptive())
    budget.resize(2)
    assert await out_at_once(budget, 20) == 2
    assert budget.number == 2


async def test_a_request_that_is_given_up_while_it_waits_takes_no_place() -> None:
    budget = RequestBudget(Fixed(1))
    async with budget.place():
        waiting = asyncio.create_task(budget.place().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert budget.taken == 0
    assert await out_at_once(budget, 5) == 1

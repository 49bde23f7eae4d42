"""Places are given in turn, and what is admitted together never declares more than there is room for."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from evals.scheduling.places import Demand, Places


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def take(places: Places, demand: Demand, admitted: list[Demand], leave: asyncio.Event) -> None:
    async with places.one(demand):
        admitted.append(demand)
        await leave.wait()


async def test_a_large_demand_is_not_passed_over_by_small_ones() -> None:
    places, admitted, leave = Places(8, Demand(memory=10)), list[Demand](), asyncio.Event()
    demands = [Demand(memory=6), Demand(memory=6), Demand(memory=1)]
    async with asyncio.TaskGroup() as group:
        for demand in demands:
            group.create_task(take(places, demand, admitted, leave))
        await settle()
        assert admitted == demands[:1]
        leave.set()
    assert admitted == demands


async def test_what_needs_more_than_there_is_has_it_all_to_itself() -> None:
    places, admitted, leave = Places(8, Demand(cpus=2)), list[Demand](), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for cpus in (1, 64, 1):
            group.create_task(take(places, Demand(cpus=cpus), admitted, leave))
        await settle()
        assert [demand.cpus for demand in admitted] == [1]
        leave.set()
    assert [demand.cpus for demand in admitted] == [1, 64, 1]


async def test_more_places_admit_at_once_and_fewer_take_none_away() -> None:
    places, admitted = Places(1), list[Demand]()
    leave = [asyncio.Event() for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        for event in leave:
            group.create_task(take(places, Demand(), admitted, event))
        await settle()
        assert places.taken == 1
        places.resize(3)
        await settle()
        assert places.taken == 3
        places.resize(1)
        for event, live in zip(leave[:3], (2, 1, 1), strict=True):
            event.set()
            await settle()
            assert places.taken == live
        for event in leave:
            event.set()
    assert len(admitted) == 5


async def test_paused_places_are_given_to_nobody() -> None:
    places, admitted, leave = Places(2), list[Demand](), asyncio.Event()
    leave.set()
    places.pause(paused=True)
    waiting = asyncio.create_task(take(places, Demand(), admitted, leave))
    await settle()
    assert admitted == []
    places.pause(paused=False)
    await waiting
    assert admitted == [Demand()]


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    places = Places(4, Demand(memory=4))
    await places.acquire(Demand(memory=3))
    large = asyncio.create_task(places.acquire(Demand(memory=3)))
    small = asyncio.create_task(places.acquire(Demand(memory=1)))
    await settle()
    assert not small.done()
    large.cancel()
    await small
    assert places.taken == 2


async def test_a_place_that_comes_as_its_taker_is_cancelled_is_not_lost() -> None:
    places = Places(1)
    await places.acquire()
    waiting = asyncio.create_task(places.acquire())
    await settle()
    places.release()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1):
        await places.acquire()


@settings(max_examples=60, deadline=None)
@given(
    demands=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8)), max_size=20),
    number=st.integers(1, 5),
    changes=st.lists(st.integers(1, 5), max_size=10),
)
def test_there_is_never_too_much_at_once_and_everybody_has_a_turn(
    demands: list[tuple[int, int]], number: int, changes: list[int]
) -> None:
    room = Demand(cpus=4, memory=8)
    live: list[Demand] = []
    served: list[Demand] = []

    async def one(places: Places, demand: Demand) -> None:
        async with places.one(demand):
            live.append(demand)
            assert sum(each.cpus for each in live) <= room.cpus
            assert sum(each.memory for each in live) <= room.memory
            assert len(live) <= 5
            await asyncio.sleep(0)
            live.remove(demand)
            served.append(demand)

    async def all_of_them() -> None:
        places = Places(number, room)
        async with asyncio.TaskGroup() as group:
            for demand in demands:
                group.create_task(one(places, Demand(*demand)))
            for change in changes:
                places.resize(change)
                await asyncio.sleep(0)
        assert places.taken == 0

    asyncio.run(all_of_them())
    assert sorted(served) == sorted(Demand(*demand) for demand in demands)

"""Every interleaving of two clients on one account, with a crash at every step: explored to the end, nothing sampled.

A client makes two calls. A call is three steps, each of which the other client may come before: reserve (one
transaction), send (the provider bills), settle (one transaction), whose cost may be unknown. Before each step the
client may die; then it is gone for good, and its holds are buried at any later moment, or at the end. The account and
what changes it are those of the product; the file is a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from penstock._policy.budget import Account, Budget, Caps, Hold
from penstock.errors import BudgetExceeded

CAP = 10
CALLS = ((6, 5), (4, 4))  # the worst case and the bill of the first and the second call of each client
CAPS = Caps(Budget(total="0.000000010"))


class Client(NamedTuple):
    """Where one client is: in which call, before which of its steps; `left` is what a mistaken one saw before it."""

    call: int = 0
    step: str = "reserve"
    is_dead: bool = False
    left: int | None = None

    @property
    def ended(self) -> bool:
        return self.is_dead or self.call == len(CALLS)


class World(NamedTuple):
    """The file (spent, held, possible, and a hold's worst case by client), the clients, and the provider's bill."""

    account: tuple[int, int, int] = (0, 0, 0)
    holds: tuple[int | None, int | None] = (None, None)
    clients: tuple[Client, Client] = (Client(), Client())
    bill: int = 0


def opened(world: World) -> Account:
    spent, held, possible = world.account
    return Account("total", CAP, spent=spent, held=held, possible=possible)


def saved(world: World, account: Account, who: int, hold: int | None) -> World:
    holds = (hold, world.holds[1]) if who == 0 else (world.holds[0], hold)
    return world._replace(account=(account.spent, account.held, account.possible), holds=holds)


def moved(world: World, who: int, client: Client) -> World:
    clients = (client, world.clients[1]) if who == 0 else (world.clients[0], client)
    return world._replace(clients=clients)


def next_call(client: Client) -> Client:
    return Client(call=client.call + 1)


def reserve(world: World, who: int) -> World:
    client, account = world.clients[who], opened(world)
    worst = CALLS[client.call][0]
    try:
        CAPS.fit((account,), worst, None)
    except BudgetExceeded:
        return moved(world, who, next_call(client))
    account.held += worst
    return moved(saved(world, account, who, worst), who, client._replace(step="send"))


def send(world: World, who: int) -> World:
    client = world.clients[who]
    return moved(world._replace(bill=world.bill + CALLS[client.call][1]), who, client._replace(step="settle"))


def settle(world: World, who: int, actual: int | None) -> World:
    hold, account = Hold(), opened(world)
    hold.worst_nano = world.holds[who]
    spent, possible, _ = hold.cost(actual)
    account.settle(hold.worst_nano or 0, spent, possible)
    return saved(world, account, who, None)


def steps(world: World) -> Iterator[World]:
    """All that can happen next."""
    for who, client in enumerate(world.clients):
        if client.is_dead and world.holds[who] is not None:
            yield settle(world, who, None)  # whoever opens the file next buries it
        if client.ended:
            continue
        yield moved(world, who, client._replace(is_dead=True))
        match client.step:
            case "reserve":
                yield reserve(world, who)
            case "send":
                yield send(world, who)
            case "settle":
                for known in (CALLS[client.call][1], None):
                    yield moved(settle(world, who, known), who, next_call(client))


def look_then_hold(world: World) -> Iterator[World]:
    """The same with the mistake of every peer: the room is looked at in one transaction and taken in another."""
    for who, client in enumerate(world.clients):
        if client.ended or client.step != "reserve":
            continue
        account = opened(world)
        if client.left is None:
            yield moved(world, who, client._replace(left=CAP - account.spent - account.held))
        elif CALLS[client.call][0] <= client.left:
            account.held += CALLS[client.call][0]
            held = saved(world, account, who, CALLS[client.call][0])
            yield moved(held, who, client._replace(step="send", left=None))
    yield from (after for after in steps(world) if after.account[1] <= world.account[1])


def forget_the_dead(world: World) -> Iterator[World]:
    """The same with a burial that gives the money of a dead client back."""
    for who, client in enumerate(world.clients):
        if client.is_dead and world.holds[who] is not None:
            yield settle(world, who, 0)
    yield from (after for after in steps(world) if after.account[2] == world.account[2])


def explore(next_worlds: Callable[[World], Iterator[World]] = steps) -> tuple[set[World], list[str]]:
    """Visit every world that can be reached, and say what is wrong in which."""
    seen, wrong = {World()}, []
    ahead = [World()]
    while ahead:
        world = ahead.pop()
        after = set(next_worlds(world))
        spent, held, possible = world.account
        if spent + held > CAP:
            wrong.append(f"above the cap: {world}")
        if world.bill > CAP:
            wrong.append(f"billed more than the cap: {world}")
        if held != sum(hold or 0 for hold in world.holds):
            wrong.append(f"a hold leaked: {world}")
        if not after:
            if held or any(hold is not None for hold in world.holds):
                wrong.append(f"held for ever: {world}")
            if not world.bill <= spent <= world.bill + possible:
                wrong.append(f"spent is not the bill and what is possible: {world}")
        ahead += after - seen
        seen |= after
    return seen, wrong


@pytest.mark.prove(15)
def test_no_interleaving_and_no_crash_breaks_the_cap_or_leaks_a_hold(
    record_property: Callable[[str, int], None],
) -> None:
    """Settled + held and the bill stay within the cap in every world, and at the end nothing is held."""
    seen, wrong = explore()
    assert not wrong, wrong[0]
    record_property("worlds", len(seen))
    assert len(seen) > 300
    assert any(world.bill == CAP - 1 for world in seen), "the cap is put to the test"


@pytest.mark.parametrize("mistake", [look_then_hold, forget_the_dead])
def test_the_explorer_finds_a_planted_mistake(mistake: Callable[[World], Iterator[World]]) -> None:
    """A checker that cannot fail proves nothing."""
    assert any("cap" in sentence for sentence in explore(mistake)[1])

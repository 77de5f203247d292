"""The queue: first in first out inside a class, shares by weight between them, removal anywhere."""

import random
from collections import Counter
from typing import Any

import pytest

from penstock._policy.fairqueue import WEIGHTS, FairQueue, Priority


class Ticket:
    def __init__(self, priority: Any = "normal", *, returned: bool = False, asked_at: float = 0.0) -> None:
        self.priority: Priority = priority
        self.returned = returned
        self.asked_at = asked_at


def take(queue: FairQueue[Ticket], now: float = 0.0, share: float = 0.01) -> Ticket:
    """Pop the head."""
    ticket = queue.head()
    assert ticket is not None
    queue.pop(ticket, now, share)
    return ticket


def full(amount: int = 2000) -> FairQueue[Ticket]:
    """A queue with many of each class."""
    queue: FairQueue[Ticket] = FairQueue()
    for _ in range(amount):
        for priority in WEIGHTS:
            queue.push(Ticket(priority))
    return queue


def test_an_empty_queue_has_no_head() -> None:
    """And no length."""
    queue: FairQueue[Ticket] = FairQueue()
    assert queue.head() is None
    assert len(queue) == 0


def test_classes_share_by_weight() -> None:
    """Eight to four to one."""
    queue = full()
    assert Counter(take(queue).priority for _ in range(1300)) == {"interactive": 800, "normal": 400, "batch": 100}


def test_shares_are_of_the_limit_and_not_of_calls() -> None:
    """A class of large calls gets fewer of them."""
    queue = full()
    size = {"interactive": 0.08, "normal": 0.01, "batch": 0.01}
    used: Counter[str] = Counter()
    for _ in range(1000):
        ticket = queue.head()
        assert ticket is not None
        used[ticket.priority] += round(100 * size[ticket.priority])
        queue.pop(ticket, 0.0, size[ticket.priority])
    assert used["interactive"] / used["normal"] == pytest.approx(2, rel=0.05)
    assert used["normal"] / used["batch"] == pytest.approx(4, rel=0.05)


def test_a_class_that_was_idle_gains_nothing_by_it() -> None:
    """Latecomers start from now, they do not catch up."""
    queue: FairQueue[Ticket] = FairQueue()
    for _ in range(200):
        queue.push(Ticket("normal"))
    for _ in range(100):
        take(queue)
    for _ in range(200):
        queue.push(Ticket("batch"))
    assert Counter(take(queue).priority for _ in range(50))["batch"] == pytest.approx(10, abs=1)


def test_those_who_waited_long_get_more_than_their_weight() -> None:
    """Ageing: after minutes in the queue a batch call counts more."""
    queue: FairQueue[Ticket] = FairQueue()
    for _ in range(300):
        queue.push(Ticket("batch", asked_at=0.0))
        queue.push(Ticket("interactive", asked_at=300.0))
    shares = Counter(take(queue, 300.0).priority for _ in range(190))
    assert shares["batch"] / shares["interactive"] == pytest.approx(11 / 8, rel=0.1)


def test_any_order_of_pushes_and_removals_keeps_the_order_of_each_class() -> None:
    """Against plain lists, returned ones first."""
    rng = random.Random(3)
    queue: FairQueue[Ticket] = FairQueue()
    lists: dict[tuple[Priority, bool], list[Ticket]] = {(p, r): [] for p in WEIGHTS for r in (True, False)}
    for _ in range(5000):
        if rng.random() < 0.5:
            ticket = Ticket(rng.choice(list(WEIGHTS)), returned=rng.random() < 0.2)
            queue.push(ticket)
            lists[ticket.priority, ticket.returned].append(ticket)
        elif rng.random() < 0.5 and len(queue):
            ticket = rng.choice([ticket for line in lists.values() for ticket in line])
            queue.remove(ticket)
            lists[ticket.priority, ticket.returned].remove(ticket)
        elif len(queue):
            ticket = take(queue)
            line = lists[ticket.priority, True] or lists[ticket.priority, False]
            assert line.pop(0) is ticket
        assert len(queue) == sum(map(len, lists.values()))
        for priority in WEIGHTS:
            assert queue.waiting(priority) == len(lists[priority, True]) + len(lists[priority, False])

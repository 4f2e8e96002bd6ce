# User profiles as plain Python objects in a dict, filled at start; a feed request scores the profiles of one's friends.
import os
import random

PROFILES = 280_000
BODY = 4000  # bytes each
FRIENDS = 200

profiles = {number: os.urandom(BODY) for number in range(PROFILES)}
dice = random.Random(0)


def handle(user: int) -> int:
    """The friend whose profile resembles the user's most."""
    mine = profiles[user]
    best, best_score = -1, -1
    for _ in range(FRIENDS):
        friend = dice.randrange(PROFILES)
        theirs = profiles[friend]
        score = (theirs[0] ^ mine[0]) + (theirs[BODY // 2] ^ mine[BODY // 2]) + (theirs[-1] ^ mine[-1])
        if score > best_score:
            best, best_score = friend, score
    return best


def example_inputs() -> list[int]:
    """Users."""
    return [dice.randrange(PROFILES) for _ in range(64)]

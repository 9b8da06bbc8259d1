"""Two users and root open one file in many orders, to read, to write, to append, to cut and to map it, while its mode
changes and what is open stays open. Arguments: directory, seed, orders. Prints one line a step: what it gave, and what every
open file shows then."""

import errno
import mmap
import os
import random
import sys

directory, seed, orders = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.chdir(directory)
os.umask(0)
chance = random.Random(seed)

OWNER, OTHER, ROOT = 1000, 1001, 0
# None of the modes takes from anybody what he has open.
STARTS = [(0o444, 0o644, 0o666), (0o640, 0o644, 0o666), (0o400, 0o600, 0o666), (0o644, 0o664, 0o666)]
ACTIONS = [
    (OTHER, "r"), (OTHER, "w"), (OTHER, "rw"), (OTHER, "a"), (OTHER, "map"),
    (OWNER, "r"), (OWNER, "w"), (OWNER, "rw"), (OWNER, "a"), (OWNER, "t"), (OWNER, "map"),
    (ROOT, "r"), (ROOT, "rw"), (OTHER, "t"), (OTHER, "rmap"), (OWNER, "rmap"),
]
FLAGS = {
    "r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR, "a": os.O_RDWR | os.O_APPEND, "t": os.O_RDWR | os.O_TRUNC,
    "map": os.O_RDWR, "rmap": os.O_RDONLY,
}
LENGTH = 10_000


def become(user):
    os.seteuid(0)
    os.setgroups([user])
    os.setegid(user)
    os.seteuid(user)


def attempt(act):
    try:
        return act()
    except OSError as error:
        return errno.errorcode[error.errno]


def shown(content):
    """Runs of equal bytes: short to read, and as exact as the bytes."""
    runs, at = [], 0
    while at < len(content):
        end = at + 1
        while end < len(content) and content[end] == content[at]:
            end += 1
        runs.append(f"{chr(content[at]) if content[at] else '0'}{end - at}")
        at = end
    return " ".join(runs)


def opened(way, mark, held, maps):
    descriptor = os.open("f", FLAGS[way])
    held.append((way, descriptor))
    if way in ("w", "rw", "t"):
        return os.pwrite(descriptor, mark * 50, chance.randrange(LENGTH))
    if way == "a":
        return os.write(descriptor, mark * 50)
    if way in ("map", "rmap"):
        size = os.fstat(descriptor).st_size
        if size == 0:
            return "nothing to map"
        mapping = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | (mmap.PROT_WRITE if way == "map" else 0))
        if way == "map":
            at = chance.randrange(size)
            mapping[at : at + 1] = mark
            mapping.flush()
        # Later cuts would make reading behind the end SIGBUS.
        result = shown(mapping[: min(size, 100)])
        maps.append(mapping)
        return result
    return "open"


for order in range(orders):
    modes = chance.choice(STARTS)
    become(ROOT)
    if os.path.exists("f"):
        os.unlink("f")
    with open("f", "wb") as file:
        file.write(b"." * LENGTH)
    os.chown("f", OWNER, OWNER)
    os.chmod("f", modes[0])
    steps = chance.sample(ACTIONS, len(ACTIONS))
    # The first stays open for reading, all the time.
    steps.insert(0, (OWNER, chance.choice(["r", "rmap"])))
    for place, mode in zip(sorted(chance.sample(range(1, len(steps)), 2)), modes[1:]):
        steps.insert(place, (chance.choice([OWNER, ROOT]), mode))
    held, maps = [], []
    for number, (user, what) in enumerate(steps):
        become(user)
        mark = bytes([ord("A") + number])
        place = chance.getstate()
        if isinstance(what, int):
            if number % 2:
                result = attempt(lambda: os.chmod("f", what))
            else:
                result = attempt(lambda: os.fchmod(held[0][1], what))
            title = f"chmod {what:o}"
        else:
            result = attempt(lambda: opened(what, mark, held, maps))
            title = what
        # As much chance for a step that failed as for one that did not.
        chance.setstate(place)
        chance.randrange(LENGTH)
        print(order, number, user, title, result)
        for way, descriptor in held:
            if way != "w":
                print("   ", way, shown(os.pread(descriptor, 3 * LENGTH, 0)), os.fstat(descriptor).st_size)
        # Others than who has opened it write on, as a descriptor that was passed on lets them.
        for way, descriptor in held:
            if way in ("w", "rw") and chance.random() < 0.2:
                print("   ", way, "writes", attempt(lambda: os.pwrite(descriptor, mark.lower(), chance.randrange(LENGTH))))
    become(ROOT)
    for mapping in maps:
        mapping.close()
    for way, descriptor in held:
        os.close(descriptor)
    with open("f", "rb") as file:
        print(order, "in the end", shown(file.read()), oct(os.stat("f").st_mode))

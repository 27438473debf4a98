"""Measures the locks of django-pglock, as it is told on standard input.

    time OPERATION TIMES                      answers with nanoseconds for each of the calls
    rate OPERATION THREADS hot|own SECONDS    answers with how many calls there were in a second

The argument is the URL of the server, which listens on a Unix socket.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings

url = urlsplit(sys.argv[1])
parameters = parse_qs(url.query)
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": parameters["host"][0],
            "PORT": parameters["port"][0],
            "USER": "postgres",
            "NAME": "postgres",
        }
    },
    INSTALLED_APPS=["pgactivity", "pglock"],
)
django.setup()

import pglock  # noqa: E402, it needs the settings

OPERATIONS = {
    "transaction": {"xact": True},
    "transaction_timed": {"xact": True, "timeout": 10},
    "transaction_no_wait": {"xact": True, "timeout": 0},
    "session": {},
    "session_timed": {"timeout": 10},
    "session_no_wait": {"timeout": 0},
}


def lock(name, options):
    with pglock.advisory(name, **options) as acquired:
        assert acquired


def time_calls(operation, times):
    options = OPERATIONS[operation]
    for _ in range(int(times)):
        began = time.perf_counter_ns()
        lock("bench", options)
        yield time.perf_counter_ns() - began


# The threads of a pool stay, and so do their connections.
pools = {}


def rate(operation, threads, locks, seconds):
    options, threads, seconds = OPERATIONS[operation], int(threads), float(seconds)
    barrier = threading.Barrier(threads)

    def client(number):
        name = "hot" if locks == "hot" else f"own {number}"
        barrier.wait()
        began = time.perf_counter()
        calls, elapsed = 0, 0
        while elapsed < seconds:
            lock(name, options)
            calls += 1
            elapsed = time.perf_counter() - began
        return calls / elapsed

    if threads not in pools:
        pools[threads] = ThreadPoolExecutor(threads)
    return sum(pools[threads].map(client, range(threads)))


for line in sys.stdin:
    command, *arguments = line.split()
    if command == "time":
        print(*time_calls(*arguments), flush=True)
    else:
        print(rate(*arguments), flush=True)

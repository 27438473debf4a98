"""A Django application that locks with django-pglock, as it is told on standard input.

    try NAME      acquires the lock if it is free, and answers whether it did
    wait NAME     acquires the lock, however long that takes
    share NAME    acquires the lock as a shared one if it is not held exclusively
    release       releases the lock that was acquired last

The arguments are the folder of the server's socket and its port. What it acquired is released when
standard input ends.
"""

import sys

import django
from django.conf import settings

folder, port = sys.argv[1:]
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": folder,
            "PORT": port,
            "USER": "postgres",
            "NAME": "postgres",
        }
    },
    INSTALLED_APPS=["pgactivity", "pglock"],
)
django.setup()

import pglock  # noqa: E402, it needs the settings

held = []
for line in sys.stdin:
    command, _, name = line.rstrip("\n").partition(" ")
    if command == "release":
        held.pop().release()
        answer = True
    else:
        waits = {} if command == "wait" else {"timeout": 0}
        lock = pglock.advisory(name, shared=command == "share", **waits)
        answer = lock.acquire()
        if answer:
            held.append(lock)
    print(answer, flush=True)

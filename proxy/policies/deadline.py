"""Deadlines: how long an exchange and each of its attempts may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeoutsConfig:
    """Seconds. `max_duration` 0 means no limit; every other one is above 0."""

    connect: float = 1.0
    attempt: float = 5.0
    request: float = 15.0
    idle: float = 60.0
    max_duration: float = 0.0
    propagate: bool = True

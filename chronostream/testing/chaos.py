"""The faults of a simulated host and its clock, drawn from a seed. The checker judges their effects."""

from __future__ import annotations

import random

from chronostream._values import SECOND_NS
from chronostream.testing.host import Death, SimulatedHost
from chronostream.testing.zones import other_calendar

__all__ = ["Chaos"]

_MINUTE_NS, _HOUR_NS, _YEAR_NS = 60 * SECOND_NS, 3600 * SECOND_NS, 366 * 86_400 * SECOND_NS
_MILLISECOND_NS = 1_000_000
# The slews of ntpd and adjtime(), of chrony, and the fastest that Linux allows.
_SLEWS_PPM = (500, 83_333, 100_000)
# An action repeats for at most this many steps: one of these, drawn again about every 50 actions.
_LONGEST = (2, 30, 500)
_CHANGE_LONGEST_ONE_IN = 50
# Of other zone data: how much further east, and how much later each change of the offset comes.
_ZONE_DATA = ((0, 0), (0, 0), (0, 25 * 86_400), (0, -7 * 86_400), (18_000, 0), (-18_000, 0))
_DEATHS = tuple(death for death in Death if death is not Death.WHILE_OPENING)


class Chaos:
    """Draws one action after another from `chance` and applies it to a host.

    `unit_ns`, the period of its most frequent events, is the scale of all durations.
    """

    def __init__(self, host: SimulatedHost, unit_ns: int, chance: random.Random) -> None:
        self._host = host
        self._unit_ns = unit_ns
        self._chance = chance
        self._start_ns = host.clock.realtime_ns()
        self._longest = chance.choice(_LONGEST)
        self._actions = {
            self._run_punctually: 30,
            self._run_late: 40,
            self._run_busy: 8,
            self._slew: 6,
            self._correct: 6,
            self._nudge: 4,
            self._die: 4,
            self._set_back: 3,
            self._set_forward: 3,
            self._suspend: 3,
            self._go_astray: 2,
            self._stop: 2,
            self._reboot: 2,
            self._change_zone_data: 1,
        }

    def act(self) -> None:
        """Draw and apply the next action."""
        if self._happens(_CHANGE_LONGEST_ONE_IN):
            self._longest = self._chance.choice(_LONGEST)
        (action,) = self._chance.choices(tuple(self._actions), tuple(self._actions.values()))
        action()

    def _run_punctually(self) -> None:
        for _ in range(self._some(self._longest)):
            self._host.run_to_deadline()

    def _run_late(self) -> None:
        for _ in range(self._some(self._longest)):
            self._host.run_to_deadline(int(self._chance.expovariate(0.1) * self._unit_ns))

    def _run_busy(self) -> None:
        for _ in range(self._some(self._longest)):
            self._host.run_to_deadline(self._chance.randrange(self._unit_ns))

    def _slew(self) -> None:
        """Slew the clock at another rate from now on, or no longer."""
        self._host.drift_ppm = self._chance.choice((-1, 0, 1)) * self._chance.choice(_SLEWS_PPM)
        self._run_punctually()

    def _correct(self) -> None:
        """Set the clock to the true time, to within a millisecond, as a time server does."""
        off_ns = self._host.clock.realtime_ns() - self._start_ns - self._host.elapsed_ns
        self._set(self._chance.randint(-_MILLISECOND_NS, _MILLISECOND_NS) - off_ns)

    def _nudge(self) -> None:
        self._set(self._chance.randint(-2 * SECOND_NS, 2 * SECOND_NS))

    def _set_back(self) -> None:
        self._set(-self._some_ns(600 * self._unit_ns))

    def _set_forward(self) -> None:
        self._set(self._some_ns(2 * _HOUR_NS))

    def _suspend(self) -> None:
        ns = self._some_ns(200 * self._unit_ns)
        self._host.clock.suspend(ns)
        self._host.elapsed_ns += ns
        self._host.step()

    def _go_astray(self) -> None:
        """Set the clock far ahead; mostly it is set back before the engine trusts it."""
        stays = self._happens(5)
        ns = _MINUTE_NS + self._some_ns(300 * self._unit_ns if stays else 5 * _YEAR_NS)
        self._set(ns)
        if stays:
            self._host.run_to_deadline()
            return
        self._look_a_few_times(2 * SECOND_NS)
        self._set(-ns)

    def wait_in_doubt(self) -> None:
        """Let a new stream look at a clock that is in doubt, and maybe die."""
        self._look_a_few_times(self._unit_ns)
        if self._happens(2):
            self._host.die(self._chance.choice(_DEATHS))
            self._be_away()
            self._come_back()
            self._look_a_few_times(self._unit_ns)

    def begin(self, off_ns: int) -> None:
        """Set a clock right that was off by `off_ns`, so that the stream begins."""
        self._host.begin(off_ns)
        self._start_ns -= off_ns

    def _look_a_few_times(self, most_ns: int) -> None:
        for _ in range(self._chance.randint(0, 3)):
            self._host.advance(self._chance.randrange(most_ns))
            self._host.step()

    def _die(self) -> None:
        self._kill()
        self._be_away()
        self._come_back()

    def _stop(self) -> None:
        self._host.stop()
        self._be_away()
        self._come_back()

    def _reboot(self) -> None:
        if self._happens(2):
            self._host.stop()
        else:
            self._kill()
        self._be_away()
        # A clock without a battery restarts from when it was switched off, or earlier.
        off_ns = self._some_ns(100 * self._unit_ns) if self._happens(3) else 0
        self._host.reboot(self._chance.randint(-off_ns, off_ns // 10))
        self._come_back()

    def _change_zone_data(self) -> None:
        """Install other zone data, or again those that the host had in the beginning, and restart the engine."""
        shift_s, delay_s = self._chance.choice(_ZONE_DATA)
        (self._kill if self._happens(2) else self._host.stop)()
        self._host.calendar = other_calendar(self._host.config.timezone, shift_s, delay_s)
        self._be_away()
        self._come_back()

    def _set(self, by_ns: int) -> None:
        self._host.set_clock(by_ns)
        if self._happens(5):
            self._host.advance(self._chance.randrange(self._unit_ns))
        self._host.step()

    def _kill(self) -> None:
        """Kill the engine, mostly at its next deadline, when it has something to do."""
        if not self._happens(5):
            self._host.advance_to_deadline(self._chance.choice((0, 0, 5 * self._unit_ns)))
        self._host.die(self._chance.choice(_DEATHS))

    def _be_away(self) -> None:
        self._host.advance(self._some_ns(100 * self._unit_ns))
        if self._happens(5):
            self._host.set_clock(self._chance.randint(-20 * SECOND_NS, 20 * SECOND_NS))

    def _come_back(self) -> None:
        self._host.restart(dies_opening=self._happens(5))

    def _happens(self, one_in: int) -> bool:
        return not self._chance.randrange(one_in)

    def _some(self, most: int) -> int:
        """Return a number from 1 to `most`, of any order of magnitude."""
        return int(most ** self._chance.random())

    def _some_ns(self, most_ns: int) -> int:
        """Return a duration of any order of magnitude, at least a microsecond."""
        return 1000 * self._some(most_ns // 1000)

"""One view run for concurrent requests: who runs it, and who waits.

A request that finds nothing to answer with asks for the *lead* of its page. Who gets
it runs the view; the others wait, look into the store again, and ask again.

====================  ================================================================
the leader            those who wait
====================  ================================================================
stores the page       get it
stores nothing,       run the view side by side, and so does who comes in the next
or fails              minute
is killed             one of them takes the lead when it was not extended for
                      ``lock_seconds``
takes longer than     one of them takes the lead; the late leader's answer is stored,
``wait_seconds``      and its lead is not given back in place of its successor's
====================  ================================================================

Within a process a lead is an object with an event. Among processes it is an item of
the backend that holds its owner's name and lives for ``lock_seconds``; a thread extends
it for as long as the view runs. Only its owner gives it back.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Literal


if TYPE_CHECKING:
    from ._vault import Vault


#: How long a page that was not stored is let through unqueued, in seconds.
PASS_SECONDS = 60.0
#: How many such pages are remembered.
PASSES = 10_000
#: How often a request looks whether another process is done, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.05

#: Run the view; look into the store again; or run the view without the lead.
Answer = Literal["lead", "look", "alone"]


@dataclass(slots=True, eq=False)
class Lead:
    """The right of one request to make a page while others wait."""

    name: str
    #: When the next one may take it, in terms of :func:`time.monotonic`.
    until: float
    #: The name that other processes know its owner by, once it is announced.
    owner: str = ""
    #: Set when it is given back; made by the first one that waits.
    done: threading.Event | None = None
    #: Whether other processes know of it.
    announced: bool = False
    #: Held while it is extended, so that it is not extended once it is over.
    guard: threading.Lock = field(default_factory=threading.Lock)


class Leads:
    """The leads of this process.

    :param vault: what other processes see, if there are any.
    :param lock_seconds: how long one among processes lives without being extended.
    :param wait_seconds: how long a view has before the next one runs it.
    """

    def __init__(
        self, vault: Vault | None, lock_seconds: float, wait_seconds: float
    ) -> None:
        self._vault = vault
        self._lock_seconds = lock_seconds
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._leads: dict[str, Lead] = {}
        self._passes: dict[str, float] = {}
        self._claims: dict[str, tuple[str, float]] = {}
        self._heart: threading.Thread | None = None
        #: Changes whenever a lead may have been given back: what was looked for before
        #: may be there now.
        self.ended: int = 0

    def take(self, name: str) -> Lead | None:
        """Take the lead for a page in this process, if nobody has it."""
        now = time.monotonic()
        with self._lock:
            late = self._leads.get(name)
            if late is not None and now < late.until:
                return None
            lead = self._leads[name] = Lead(name, now + self._wait_seconds)
        if late is not None:
            self._retract(late)
        return lead

    def join(self, name: str, deadline: float) -> tuple[Answer, Lead | None]:
        """Take the lead for a page, or wait for whoever has it.

        :param deadline: when to go on alone, in terms of :func:`time.monotonic`.
        :return: what to do, and the lead if it is to run the view.
        """
        lead = self.take(name)
        if lead is None:
            return self._wait_here(name, deadline), None
        vault = self._vault
        if vault is None or self._announce(vault, lead):
            return "lead", lead
        answer = self._wait_there(vault, lead, deadline)
        if answer == "lead":
            return answer, lead
        self.end(lead)
        return answer, None

    def end(self, lead: Lead) -> None:
        """Give a lead back and wake those who wait."""
        with self._lock:
            self.ended += 1
            if self._leads.get(lead.name) is lead:
                del self._leads[lead.name]
            done = lead.done
        if lead.announced:
            self._retract(lead)
        if done is not None:
            done.set()

    def _retract(self, lead: Lead) -> None:
        """Give a lead among processes back."""
        with lead.guard:
            if lead.announced and self._vault is not None:
                lead.announced = False
                self._vault.end_lead(lead.name, lead.owner)

    def let_pass(self, *pages: str) -> None:
        """Let requests for pages run side by side for a while."""
        until = time.monotonic() + PASS_SECONDS
        with self._lock:
            if len(self._passes) >= PASSES:
                self._passes.clear()
            self._passes.update(dict.fromkeys(pages, until))

    def hold(self, page: str) -> None:
        """Make requests for a page wait for each other again."""
        self._passes.pop(page, None)

    def passes(self, page: str) -> bool:
        """Return whether requests for a page run side by side."""
        until = self._passes.get(page)
        return until is not None and until > time.monotonic()

    def claim(self, name: str, seconds: float) -> str | None:
        """Return the name of the owner of a task, or None if somebody has it.

        :param seconds: how long the task is another's at most.
        """
        owner, now = secrets.token_hex(8), time.monotonic()
        vault = self._vault
        with self._lock:
            claimed = self._claims.get(name)
            if claimed is not None and now < claimed[1]:
                return None
            if len(self._claims) >= PASSES:
                self._claims.clear()
            # Other processes know better when it is done.
            self._claims[name] = owner, now + (seconds if vault is None else 1.0)
        if vault is None or vault.lead(name, owner, seconds):
            return owner
        return None

    def unclaim(self, name: str, owner: str) -> None:
        """Let a task be claimed again, if it is still the owner's."""
        with self._lock:
            if self._claims.get(name, ("", 0.0))[0] == owner:
                del self._claims[name]
        if self._vault is not None:
            self._vault.end_lead(name, owner)

    def _wait_here(self, name: str, deadline: float) -> Answer:
        """Wait for a leader of this process."""
        with self._lock:
            lead = self._leads.get(name)
            if lead is not None and lead.done is None:
                lead.done = threading.Event()
        if lead is not None and lead.done is not None:
            now = time.monotonic()
            lead.done.wait(max(0.0, min(deadline, lead.until) - now))
        return "look" if time.monotonic() < deadline else "alone"

    def _wait_there(self, vault: Vault, lead: Lead, deadline: float) -> Answer:
        """Wait for a leader of another process, until it is done or gone."""
        pause, late = _FIRST_PAUSE, time.monotonic() + self._wait_seconds
        leader = vault.led(lead.name)
        if leader is None:
            # Given back just now; or reading fails, and asking goes on for a while.
            _NEVER.wait(pause)
        while leader is not None and (now := time.monotonic()) < deadline:
            if now > late:
                # It is alive and slow: one of those who wait goes on.
                vault.end_lead(lead.name, leader)
                break
            lead.until = now + self._wait_seconds
            _NEVER.wait(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.5)
            leader = vault.led(lead.name)
        return "look" if time.monotonic() < deadline else "alone"

    def _announce(self, vault: Vault, lead: Lead) -> bool:
        """Take a lead among processes."""
        lead.owner = secrets.token_hex(8)
        if not vault.lead(lead.name, lead.owner, self._lock_seconds):
            return False
        lead.announced = True
        with self._lock:
            # One of another process may have been given back since the last look.
            self.ended += 1
            if self._heart is None or not self._heart.is_alive():
                self._heart = threading.Thread(
                    target=self._beat, args=(vault,), name="webcache-leads", daemon=True
                )
                self._heart.start()
        return True

    def _beat(self, vault: Vault) -> None:
        """Extend the leads of this process while their views run."""
        while True:
            _NEVER.wait(self._lock_seconds / 3)
            now = time.monotonic()
            with self._lock:
                leads = [one for one in self._leads.values() if one.announced]
                if not leads:
                    self._heart = None
                    return
            for lead in leads:
                # A view that hangs does not keep its lead for ever.
                with lead.guard:
                    if lead.announced and now < lead.until:
                        seconds = self._lock_seconds
                        vault.extend_lead(lead.name, lead.owner, seconds)


_NEVER = threading.Event()

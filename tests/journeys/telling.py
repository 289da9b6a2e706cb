"""The demonstration's steps depend on one another: whoever asks for one gets those before it played first, once."""

from __future__ import annotations

from dataclasses import dataclass, field

from demo.clients import StepFailedError
from demo.house import World
from demo.steps import STEPS, Story


@dataclass
class Telling:
    """The story so far. It can be asked for any step, in any order: tests are dealt out to processes as they come."""

    story: Story
    verified: list[str] = field(default_factory=list)
    failed: StepFailedError | None = None

    @property
    def world(self) -> World:
        """Where it plays."""
        return self.story.world

    def until(self, number: int) -> str:
        """Play all steps up to a number (from 1) that were not played yet; returns what the last one verified."""
        while len(self.verified) < number:
            if self.failed is not None:
                raise StepFailedError(f"step {len(self.verified) + 1} failed before: {self.failed}")
            try:
                self.verified.append(STEPS[len(self.verified)].play(self.story))
            except StepFailedError as error:
                self.failed = error
                raise
        return self.verified[number - 1]

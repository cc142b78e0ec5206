"""A reporter that stops a run where a test wants it."""

from rdrkd.events import Checkpoint, Event
from rdrkd.reporter import Memory


class StopAfter(Memory):
    """Asks for a stop in the middle of the epoch after the given checkpoint."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Checkpoint) and event.epoch == self.epoch:
            self.stop = True

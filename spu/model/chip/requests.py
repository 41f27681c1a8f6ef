"""Golden models of how beats become bursts: the joiner of runs and the cutter of requests."""

from typing import NamedTuple

from spu.arch.memory import MemoryEngine


class Request(NamedTuple):
    """Beats from number ``beat`` of memory on, for descriptor ``tag``."""

    beat: int
    beats: int
    tag: int


class JoinerModel:
    """Runs of beats as requests, as ``RunJoiner`` offers them; ``o`` is what is on offer."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.burst_beats = engine.burst_beats
        self.beats = 1 << engine.beat_address_bits  # of the address space
        self._run: Request | None = None
        self.o: Request | None = None

    @property
    def busy(self) -> bool:
        """Whether a beat is not handed out."""
        return self._run is not None or self.o is not None

    def _grows(self, beat: int, tag: int) -> bool:
        run = self._run
        return (
            run is not None
            and beat % self.burst_beats != 0
            and beat == (run.beat + run.beats) % self.beats
            and tag == run.tag
        )

    def ready(self, beat: int, tag: int, o_ready: bool) -> bool:
        """Whether a beat would be taken."""
        return self._run is None or self.o is None or o_ready or self._grows(beat, tag)

    def tick(
        self, beat: int | None, tag: int, hurry: bool, o_ready: bool, flush: bool = False
    ) -> None:
        """Go on by a cycle in which ``beat`` is offered."""
        if flush:
            self._run = self.o = None
            return
        takes = beat is not None and self.ready(beat, tag, o_ready)
        grows = beat is not None and self._grows(beat, tag)
        run, free = self._run, self.o is None or o_ready
        moves = run is not None and free and (hurry or (beat is not None and not grows))
        if o_ready:
            self.o = None
        if moves:
            self.o, self._run = run, None
        if takes and beat is not None:
            if run is not None and not moves:
                self._run = Request(run.beat, run.beats + 1, run.tag)
            else:
                self._run = Request(beat, 1, tag)


class CutterModel:
    """Requests cut into bursts, as ``BurstCutter`` offers them; ``busy`` with one."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.burst_beats = engine.burst_beats
        self.beats = 1 << engine.beat_address_bits
        self._request: Request | None = None

    @property
    def busy(self) -> bool:
        return self._request is not None

    def offer(self) -> tuple[Request, bool] | None:
        """The burst of this cycle, and whether it is the last one of its request."""
        request = self._request
        if request is None:
            return None
        room = self.burst_beats - request.beat % self.burst_beats
        if request.beats <= room:
            return request, True
        return Request(request.beat, room, request.tag), False

    def ready(self, o_ready: bool) -> bool:
        """Whether a request would be taken."""
        burst = self.offer()
        return burst is None or (o_ready and burst[1])

    def tick(self, request: Request | None, o_ready: bool, flush: bool = False) -> None:
        """Go on by a cycle in which ``request`` is offered, and the burst is taken or not."""
        if flush:
            self._request = None
            return
        burst, takes = self.offer(), self.ready(o_ready)
        if request is not None and takes:
            self._request = request
        elif burst is not None and o_ready:
            rest = self._request
            assert rest is not None
            beat = (rest.beat + burst[0].beats) % self.beats
            self._request = (
                None if burst[1] else Request(beat, rest.beats - burst[0].beats, rest.tag)
            )

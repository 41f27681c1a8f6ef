"""Programs that make blocks of codes."""

from compiler.check.machine import Machine
from compiler.check.terms import Terms
from compiler.errors import WrongProgram
from spu.arch.package.reblocking import Reblocking


def check_reblocking(plan: Reblocking) -> None:
    """Raise ``WrongProgram`` unless each column gives the words of the blocks of what it takes."""
    arch, terms = plan.arch, Terms()
    machine = Machine(plan.image, terms)
    if machine.timing != plan.timing:
        raise WrongProgram(f"blocks of {plan.fmt.name}: the program has {machine.timing}")
    rounds, number = machine.rounds, plan.arch.format_number(plan.fmt)
    entering = {
        column: [terms.number("input", column, i) for i in range(rounds * arch.pushes_per_block)]
        for column in plan.columns
    }
    got = machine.run(rounds, entering)
    for column in range(arch.cols):
        words, want = entering.get(column, []), []
        for first in range(0, len(words), arch.pushes_per_block):
            block = terms.number("block", number, *words[first : first + arch.pushes_per_block])
            want += [terms.number("codes", block, i) for i in range(arch.words_per_block(plan.fmt))]
        if got.get(column, []) != want:
            raise WrongProgram(
                f"blocks of {plan.fmt.name}: the words of output stream {column} "
                "are not those of its blocks"
            )

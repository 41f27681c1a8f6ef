"""Register map of the memory engine, beside that of the array (``spu.arch.regmap``)."""

from spu.arch.memory import MemoryEngine

#: Byte address of the first register of the engine on a chip; the array's lie below.
ENGINE_BASE = 0x2000
#: Value of the ID register.
ENGINE_ID = int.from_bytes(b"SPUM", "little")

#: The registers in their order, and what they hold.
REGISTERS = {
    "ENGINE_ID": '"SPUM"',
    "ENGINE": "read channels in bits 0-7, write channels in bits 8-15, log2 of the bytes of a "
    "descriptor in bits 16-23, of a channel's word in bits 24-31",
    "RING_BASE_LOW": "where the ring lies in memory, a multiple of a descriptor's bytes",
    "RING_BASE_HIGH": "its upper bits",
    "RING_SIZE": "log2 of the ring's places; descriptor n lies at place n modulo their number",
    "LIMIT_LOW": "the first address that is no memory",
    "LIMIT_HIGH": "its upper bits",
    "DOORBELL": "number, modulo 2^16, of the descriptor after the last one that was announced",
    "NEXT": "number of the descriptor that is handed out next; places before it are free",
    "ENGINE_STATUS": "bit 0: busy, descriptors wait or a fault is being cleaned up; sticky fault "
    "in bits 8-15, its descriptor in bits 16-31",
    "ENGINE_CONTROL": "written: bit 0 forgets the fault and what was announced, bit 1 stops the "
    "engine, as a fault does",
    "INTERRUPT_ENABLE": "causes that raise the interrupt",
    "INTERRUPT_CAUSE": "bit 0: a NOTIFY; bit 1: a fault, which is cleaned up; writing 1 clears",
    "NOTIFIED": "the value of the last NOTIFY",
}
#: Most that RING_SIZE can be: numbers of descriptors tell a full ring from an empty one.
MOST_RING_SIZE = 15
#: Fields of ENGINE.
ENGINE_WRITES_SHIFT, ENGINE_DESCRIPTOR_SHIFT, ENGINE_WORD_SHIFT = 8, 16, 24
#: Fields of ENGINE_STATUS; the fault is a number of ``spu.arch.memory.Fault``.
STATUS_BUSY = 1 << 0
STATUS_FAULT_SHIFT, STATUS_DESCRIPTOR_SHIFT = 8, 16
#: Bits of ENGINE_CONTROL.
CONTROL_CLEAR, CONTROL_STOP = 1 << 0, 1 << 1
#: Bits of INTERRUPT_ENABLE and INTERRUPT_CAUSE.
CAUSE_NOTIFY, CAUSE_FAULT = 1 << 0, 1 << 1


def engine_map() -> dict[str, int]:
    """Byte address of each register of the engine on a chip."""
    return {name: ENGINE_BASE + 4 * i for i, name in enumerate(REGISTERS)}


def engine_parameters(engine: MemoryEngine) -> int:
    """Contents of the register ENGINE."""
    return (
        engine.read_channels
        | engine.write_channels << ENGINE_WRITES_SHIFT
        | (engine.descriptor_bytes.bit_length() - 1) << ENGINE_DESCRIPTOR_SHIFT
        | (engine.word_bytes.bit_length() - 1) << ENGINE_WORD_SHIFT
    )

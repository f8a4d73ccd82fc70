from enum import IntEnum

class RecordFlag(IntEnum):
    SCALARS = 0x08
    ONLY_ARGS = 0x10
    KEEP = 0x20
    KEEP_ONLY = 0x40
    PAYLOAD_OUT = 0x80

class ReplyFlag(IntEnum):
    FAILED_REPLY = 0
    OK_REPLY = 1
    SKIPPED_REPLY = 2
    OUTCOME_BITS = 3
    NO_RESULT = 4
    SECONDARY = 0x10
    KEPT = 0x20
    STAYED = 0x40

class RecordKind(IntEnum):
    JOB = 1
    FUNCTION = 2
    FORGET = 3
    NEEDED = 4
    UNNEEDED = 5
    SKIP = 6
    STOP = 7
    DONE = 8
    LEAVE = 9
    STEAL_REQUEST = 10
    STEAL_RESPONSE = 11
    RANK_FAILED = 12
    INTERRUPT = 13
    OUTPUT = 14
    SEND_DATA = 16
    DATA = 17
    FORGET_DATA = 18
    DATA_LOST = 19
    HAVE_DATA = 20
    RELAYED = 21
    CONFIRM_LOSS = 22
    LOSS_CONFIRMED = 23
    GANG = 30
    GANG_JOB = 31
    GANG_FREE = 32
    GANG_DONE = 33

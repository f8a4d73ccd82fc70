from enum import IntEnum

class RecordFlag(IntEnum):
    SCALARS = 0x08
    ONLY_ARGS = 0x10
    PAYLOAD_OUT = 0x80

class ReplyFlag(IntEnum):
    FAILED_REPLY = 0
    OK_REPLY = 1
    SKIPPED_REPLY = 2
    OUTCOME_BITS = 3
    NO_RESULT = 4

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

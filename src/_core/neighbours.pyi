from collections.abc import Mapping

class Neighbours:
    def __init__(self, pids: Mapping[int, int]) -> None: ...

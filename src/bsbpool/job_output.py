"""What a job has written to stdout and stderr."""

from __future__ import annotations

import codecs

STDOUT, STDERR, MESSAGE = 1, 2, 3


class JobOutput:
    """The output of a job with the option `capture_output`; `str` returns it in order of arrival.

    Of each stream, the first 384 KiB and the last 128 KiB are kept.

    Attributes
    ----------
    messages : list of bytes
        For internal use: what adapters of other packages have sent in the job.
    """

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {stream: decoder(errors="replace") for stream in (STDOUT, STDERR)}
        self._pieces: list[tuple[int, str]] = []
        self.messages: list[bytes] = []

    def add(self, stream: int, data: bytes) -> str:
        """Add a piece of a stream; return its text, or "" for a message."""
        if stream == MESSAGE:
            self.messages.append(data)
            return ""
        text = self._decoders[stream].decode(data)
        self._pieces.append((stream, text))
        return text

    @property
    def stdout(self) -> str:
        """What the job has written to stdout so far."""
        return self._text_of(STDOUT)

    @property
    def stderr(self) -> str:
        """What the job has written to stderr so far."""
        return self._text_of(STDERR)

    def _text_of(self, stream: int) -> str:
        return "".join(text for other, text in list(self._pieces) if other == stream)

    def __str__(self) -> str:
        return "".join(text for _, text in list(self._pieces))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(str(self))} characters>"

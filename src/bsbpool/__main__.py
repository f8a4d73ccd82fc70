"""``python -m bsbpool`` is the `bsbpool` command."""

from __future__ import annotations

from bsbpool.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
